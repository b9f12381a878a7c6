"""The same spelling for what looks the same: an answer's text without all that carries no meaning."""

import re
from collections.abc import Callable

GREEK = dict(
    zip(
        "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi "
        "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        strict=True,
    )
)
_UNICODE = str.maketrans(
    {
        **{letter: f"\\{name} " for letter, name in GREEK.items()},
        **dict.fromkeys("−–—‒‐‑", "-"), **dict.fromkeys("×⋅·∙∗", "*"), **dict.fromkeys("\u00a0\u2009\u202f", " "),
        **dict.fromkeys("’′", "'"), "÷": "/", "⁄": "/", "∕": "/", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
        "≈": r"\approx ", "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
        "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "°": r"^\circ ", "…": r"\ldots ", "±": r"\pm ", "∓": r"\mp ",
        "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
        "∖": r"\setminus ", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]", "℃": r"^\circ C", "℉": r"^\circ F",
        "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    }
)  # fmt: skip
_FULL_WIDTH = str.maketrans(
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
    | {start + digit: str(digit) for start in (0x0660, 0x06F0, 0x0966) for digit in range(10)}  # Arabic, Persian, Hindi
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_DOLLAR = re.compile(r"(?<!\\)\$")
STYLE = "text|mbox|textrm|textbf|textit|textsf|textnormal|mathrm|mathbf|mathit|mathsf|rm|operatorname|mathop"
_WHOLE_STYLED = re.compile(rf"\\(?:{STYLE})\*? *\{{([^{{}}]*)\}}")
_PRICES = re.compile(r"([-+*/=] ?)\\?\$ ?(?=[0-9])")  # $3 + $4 = $7
_SPACED_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(?: [0-9]{3})+(?:\.[0-9]+)?")
_CHINESE_UNITS = {
    "元": "yuan", "厘米": "cm", "毫米": "mm", "公里": "km", "千米": "km",
    "平方米": "m^2", "平方厘米": "cm^2",
    "立方米": "m^3", "米": "m", "千克": "kg", "公斤": "kg", "克": "g",
    "小时": "hours", "分钟": "minutes", "分鐘": "minutes", "秒": "s",
    "天": "days", "年": "years", "円": "yen", "원": "won",
} | dict.fromkeys("个個只人次岁本条块种颗支张辆斤名件台개명", "items")  # fmt: skip
_REALS = r"\\(?:mathbb|mathbf|Bbb) ?(?:\{ ?R ?\}|R(?![A-Za-z]))"


def _rows(found: re.Match) -> str:
    """`[[1, 2], [3, 4]]` as a matrix in LaTeX."""
    rows = re.findall(r"\[([^\[\]]+)\]", found[1])
    return r"\begin{pmatrix}" + r" \\ ".join(row.replace(",", " & ") for row in rows) + r"\end{pmatrix}"


def _over(name: str) -> Callable[[re.Match], str]:
    r"""`{a \over b}` as \frac{a}{b}."""

    def written(found: re.Match) -> str:
        top, bottom = (part for part in found.groups() if part is not None)
        return rf"\{name}{{{top}}}{{{bottom}}}"

    return written


def _repeating(found: re.Match) -> str:
    return rf"\overline{{{''.join(part or '' for part in found.groups())}}}"


_AND_OR = re.compile(r" ?\\text\{ ?(?:and|or) ?\} ?| (?:and|or) ")
_COUNTED = "|".join(sorted(_CHINESE_UNITS, key=len, reverse=True))
_BOLD = r"\\(?:mathbf|boldsymbol|bm) ?\{ ?([A-Za-z]) ?\}"
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<!\\)\\[()\[\]]", " "),  # \( \) \[ \]: math delimiters
        (r"\\(?:left|right|[bB]ig{1,2}[lrm]?|bigg[lrm]?|Bigg[lrm]?)(?![A-Za-z])(?: ?\.)?", ""),
        (
            r"\\(?:displaystyle|textstyle|limits|nolimits|boxed|fbox|ensuremath|underline|checkmark|qed|blacksquare"
            r"|(?:bf|it|tt|sf)(?! ?\{)|large|Large)(?![A-Za-z])",
            "",
        ),
        (r"\\(?:text)?color *\{[^{}]*\}", ""),
        (
            r"\\framebox(?![A-Za-z])"
            r"|\A ?(?:\\(?:therefore|Rightarrow|implies|Longrightarrow|rightarrow)(?![A-Za-z])|[∴⇒→]|=>)",
            "",
        ),
        (r"\\\\ ?\[[0-9.]+ ?(?:pt|em|ex|mm|cm)\]|\\cr(?![A-Za-z])", r"\\\\"),  # an end of a row
        (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}|\A([^{}=]*)\\over(?![A-Za-z])([^{}=]*)\Z", _over("frac")),
        (r"\A([^{}=]*)\\choose(?![A-Za-z])([^{}=]*)\Z", _over("binom")),
        (
            r"(?<=\.)\(([0-9]+)\)|\\dot ?\{?([0-9])\}?(?:([0-9]*)\\dot ?\{?([0-9])\}?)?",
            _repeating,
        ),  # 2.(3), 0.\dot14\dot2
        (r"\{ ?\} ?\^ ?\{?([2-9])\}? ?\\sqrt(?![A-Za-z])", r"\\sqrt[\1]"),
        (r"(?<=[-+,( ])oo(?=[,)\]]|\Z)", r"\\infty "),
        (r"(?:(?<=[0-9)])|(?<=[0-9]\})) ?\\q?quad ?(?=[A-Za-z](?:_\{?[0-9]\}?)? ?=)", ", "),
        (rf"{_BOLD}(?: ?\\times ?{_BOLD})+", lambda found: re.sub(_BOLD, r"\\vec{\1}", found[0])),  # no plain product
        (r"\{([:])\}", r"\1"),
        (r"\\text\{ ?\\\$ ?\}", r"\$"),
        (r"(?<=[0-9)])!=(?= ?-?[0-9][0-9.,]*\Z)", "! ="),
        (r"\+ ?(?:\\text\{ ?)?const(?:ant|\.)? ?\}?\Z", "+ C"),
        (
            r"(?<=[0-9A-F)]) ?\\?(?:_ ?\{? ?\((\d{1,2})\) ?\}?"
            r"|(?:text ?\{)? ?\(?(?:in )?base[ -]?\}? ?\(?(\d{1,2}|[a-z]{3,7})\)? ?\}?)\Z",
            lambda found: (
                rf"_{{{found[1] or found[2]}}}" if (found[1] or found[2]).isdigit() else rf"_{{\text{{{found[2]}}}}}"
            ),
        ),
        (r"\\text\{,\}", "{,}"),
        (r"\\([ij])math(?![A-Za-z])", r"\1"),
        (r"\\(?:mathrm|text|rm) ?(?:\{ ?d ?\}|(?<=[a-z] )d(?![a-z]{2}))(?= ?[A-Za-z]| ?\\(?!text|mathrm))", "d"),
        (r"\bUS ?\\?\$|\AUSD ?(?=[0-9])", r"\$"),
        (r"(?<=[0-9] )(?:US|American) (?=dollars?\b)", ""),
        (r"\\(?:text|mathrm)\{ ?\^\\circ ?([CF]) ?\}", r"^\\circ \1"),
        (r"\\text\{ ?\( ?mod ?\} ?(\d+) ?\)", r" \\pmod{\1}"),
        (r"\{ ?\\rm ([^{}]*)\}", r"\\mathrm{\1}"),
        (r"(?<![_^A-Za-z}])\{ ?(\\(?:text|mathrm)\{[^{}]*\}) ?\}", r"\1"),
        (r"(?<=[0-9)}]) ?(?:\\deg(?:ree)?(?![A-Za-z])|\^ ?(?:\\text)?(?:\{ ?)?o(?![A-Za-z]) ?\}?)", r"^\\circ "),
        (r"\\text\{ ?(?:\^\\circ|°) ?\}", r"^\\circ "),
        (r"\\text\{ \} ?(?=\^)", ""),
        (r"\\text\{ ?([€£¥₹¢]) ?\}|\\pounds(?![A-Za-z])", lambda found: found[1] or "£"),
        (r"\\(text|mbox|mathrm)\{([^{}]*[^{} ]) +(and|or) *\}", r"\\\1{\2}\\\1{ \3 }"),
        (
            r"\( ?\\[bp]?mod ?\{? ?(\d+|[a-z]) ?\}? ?\)|\\[bp]?mod(?![a-z]) ?\{? ?(\d+|[a-z])(?![0-9a-z]) ?\}?"
            r"|\\(?:text|mathrm)\{ ?\(? ?mod ?(\d*) ?\)? ?\}(?: ?(\d+))?"
            r"|\( ?(?:\\(?:text|mathrm)\{ ?mod ?\}|mod)(?:\\| )*(\d+) ?\)",
            lambda found: rf" \pmod{{{next(filter(None, found.groups()), '')}}}",
        ),
        (r"\A\[((?:\[[^\[\]]+\] ?,? ?){2,})\]\Z", _rows),
        (
            r"(?<=[0-9]) ?/ ?(?=(?:hour|hr|day|week|month|year|yr|minute|person|item|pound|lb|mile|gallon)s?\b)",
            " per ",
        ),
        (r"\ARs\.? ?(?=[0-9])", "₹"),
        (r"(?<=[0-9]) (?:mod|modulo) ?(\d+)\Z", r" \\pmod{\1}"),
        (r"\b([A-Za-z]) ?(?::|\\colon) ?([a-z]) ?\\mapsto(?![a-z])", r"\1(\2)="),
        (r"\A([a-z]) ?(?:\\mapsto|↦)(?![a-z])", r"f(\1)="),
        (r"\( ?([f-hF-H]) ?\\circ ?([f-hF-H]) ?\) ?\(([a-z])\)", r"\1(\2(\3))"),
        (r"(?:\{ ?\} ?|\{ ?)?\^ ?\{?([0-9a-z]+)\}? ?\}? ?C ?_ ?\{?([0-9a-z]+)\}?", r"\\binom{\1}{\2}"),
        (r"(?<![A-Za-z0-9)])(?:\{ ?\} ?|\{ ?)?_ ?\{?([0-9a-z]+)\}? ?\}? ?C ?_ ?\{?([0-9a-z]+)\}?", r"\\binom{\1}{\2}"),
        (r"(?<![A-Za-z])C ?_ ?\{?([n0-9]+)\}? ?\^ ?\{?([rk0-9]+)\}?(?![A-Za-z0-9])", r"\\binom{\1}{\2}"),
        (
            r"(?<![A-Za-z0-9)])(?:\{ ?\} ?)?_ ?\{?([0-9n]+)\}? ?P ?_ ?\{?([0-9rk]+)\}?(?=[ =]|\Z)"
            r"|(?:\{ ?\} ?)?\^ ?\{?([0-9n]+)\}? ?P ?_ ?\{?([0-9rk]+)\}?(?=[ =]|\Z)",
            lambda found: r"\frac{{{0}!}}{{({0}-{1})!}}".format(*filter(None, found.groups())),
        ),
        (r"(?<=[0-9]) ?[xX] ?(?=10 ?\^)", r"\\times "),
        (r"(?<=\})_ ?\{?\\(?:text|mathrm) ?\{ ?([A-Za-z]+) ?\}\}?", r"_{\1}"),
        (
            r"\A ?(?:\\text\{ ?(?:for )?(?:all|any|every) ?\}|(?:for )?(?:all|any|every)) ?"
            r"(?=[a-zA-Z] ?(?:\\(?:in|le|ge|ne)|<|>))",
            "",
        ),
        (r"\\not ?=|\\not ?\\equiv", r"\\ne "),
        (r"\\not ?\\in(?![a-z])", r"\\notin "),
        (r"\^ ?(?:\\prime(?![A-Za-z])|\{ ?\\prime ?\})", "'"),
        (r"\\(?:qty|SI)\{([^{}]*)\} ?\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1\\mathrm{\2}"),
        (r"\\mathrm\{([^{}~]*)~([^{}]*)\}", r"\\mathrm{\1 \2}"),
        (r",?\\! ?,?(?=[0-9]{3}(?![0-9]))|(?<=[0-9])\{,\}(?=[0-9]{3}(?![0-9]))", "\0"),  # a thousands separator
        (r"(?<=[0-9])(?:\\,|~)(?=[0-9]{3}(?![0-9]))", "\0"),
        (r"\.(?= ?(?:\\\\|\\end ?\{))", ""),  # a sentence that ends in an environment
        (
            rf"(?<=[0-9)}}]) ?(?:\\(?:text|mathrm) ?\{{ ?({_COUNTED}) ?\}}|({_COUNTED}))\Z",
            lambda found: rf"\text{{ {_CHINESE_UNITS[found[1] or found[2]]}}}",
        ),
        (r"\A ?(?:\\text ?\{ ?)?答案?(?:是|为|：|:) ?\}?", ""),
        (r"\A[\"`']([^\"`']*)[\"`']\Z", r"\1"),
        (rf"{_REALS} ?\^ ?(?:\{{ ?\* ?\}}|\*)", r"(-\\infty,0)\\cup(0,\\infty)"),
        (
            r"\A(?:\\text\{ ?)?(?:all|any) real(?:s| numbers?| values?)(?: of)?(?: [a-z])? "
            r"(?:except|other than|except for) ?\}? ?\$?(?:[a-z] ?= ?)?([-0-9](?:[^{}]|\\text\{ ?(?:and|or) ?\})*)\Z",
            lambda found: rf"\mathbb{{R}}\setminus\{{{re.sub(_AND_OR, ', ', found[1])}\}}",
        ),
        (r"(?<![\w)}])([0-9]+) ?C ?([0-9]+)(?!\w)", r"\\binom{\1}{\2}"),
        (r"\\cup ?(?=[a-z] ?(?:[<>]|\\[lg](?:e|t)))", " or "),  # x < 1 \cup x > 2
        (r"(?<=[0-9]) ?sec(?=\Z|[.,;)])", r" seconds"),
        (rf"{_REALS} ?(?:\^ ?\{{? ?\+ ?\}}?|_ ?\{{? ?(?:\+|> ?0?) ?\}}?|\^ ?\{{ ?> ?0? ?\}})", r"(0,\\infty)"),
        (rf"{_REALS} ?[_^] ?\{{ ?\\ge(?:q|qslant)? ?0 ?\}}", r"[0,\\infty)"),
        (rf"{_REALS} ?(?:[_^] ?-|[_^] ?\{{ ?(?:-|< ?0?) ?\}})", r"(-\\infty,0)"),
        (r"(?<![A-Za-z0-9.])(\d+) ?h(?:rs?)? ?(\d+) ?m(?:ins?)?(?![A-Za-z])", r"\1 hours \2 minutes"),
        (r"(?<![A-Za-z0-9.])(\d+) ?m (\d+) ?cm(?![A-Za-z])", r"\1 meters \2 cm"),
        (r"(?<=[0-9a-z]) an? (?=(?:day|week|month|year|hour|minute|second)\b)", " per "),
        (r"\\!", ""),
        (r"(?<=[0-9])\{,\}(?=[0-9])", ","),
        (r"(?<!\\)\\[ ,;:>]|~|\\(?:quad|qquad|thinspace|medspace|hspace\{[^{}]*\}|hfill)(?![A-Za-z])", " "),
        (r" +", " "),
    )
)


def clean(text: str) -> str:
    """Remove what carries no meaning in any answer: math delimiters, sizes, thin spaces, one final period.

    A thousands separator that can be nothing else (`{,}`, `\\!`, `\\,` before three digits) is removed as well.
    """
    text = text.replace("\0", "\ufffd")  # NUL marks a separator below, so it may not come from outside
    if len(_DOLLAR.findall(text)) % 2 == 0:  # they pair up, so they delimit math; a lone one is a currency sign
        text = _DOLLAR.sub(" ", text)
    if not text.isascii():
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPTS) + "}", text)
        text = re.sub("[₀-₉]+", lambda m: "_{" + "".join(str(ord(c) - ord("₀")) for c in m[0]) + "}", text)
        text = text.translate(_FULL_WIDTH).translate(_UNICODE)
    text = re.sub(r"[\t\n\r\f\v]", " ", text)
    if "&" in text:
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    if "&" in text and "\\begin" not in text:
        text = re.sub(r" ?\\?& ?", " and ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.replace("\0", "").strip()
    if text.startswith(("$", "\\$")):
        text = _PRICES.sub(r"\1", text)
    text = text.rstrip("\\,; ✓✔✅■□∎")  # an end of a line, a space `\ ` that lost its blank, a stop
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    if text.startswith("**") and text.endswith("**") and len(text) > 4:
        text = text[2:-2].strip()
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    whole = _WHOLE_STYLED.fullmatch(text)
    return whole[1].strip() if whole else text
