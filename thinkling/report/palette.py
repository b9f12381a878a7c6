"""The colours of every page and picture, in light and in dark, and the markers of curves: their one home.

A picture on a page is drawn in stand-in colours, which its style sheet then decides: light, dark or print. A picture in
a file is drawn in `LIGHT`. Leaves out everything that has a shape.
"""

# role: (light, dark). The series are told apart in either also without one kind of cones (a test holds that), and have
# markers of their own besides.
COLOURS = {
    "ink": ("#1b1f24", "#e7e9ec"),
    "muted": ("#646b75", "#9aa2ad"),
    "rule": ("#dfe2e6", "#343a43"),
    "paper": ("#ffffff", "#14171b"),
    "wash": ("#f5f6f8", "#1c2026"),
    "accent": ("#0f6fb8", "#62b3f2"),
    "loud": ("#b42318", "#ff8a75"),
    "series-1": ("#0072b2", "#3d9be0"),
    "series-2": ("#c44e00", "#ff8f5a"),
    "series-3": ("#12a37f", "#1fb98a"),
    "series-4": ("#8e2f6f", "#e79ac9"),
    "series-5": ("#e69f00", "#ffd75e"),
    "series-6": ("#7a5cff", "#7d6bf0"),
}
LIGHT = {role: light for role, (light, _) in COLOURS.items()}
DARK = {role: dark for role, (_, dark) in COLOURS.items()}
PRINT = LIGHT | {"ink": "#000", "muted": "#555", "rule": "#ccc", "wash": "#fff"}
SERIES = tuple(role for role in COLOURS if role.startswith("series-"))

MARKERS = {"o": ("●", 6.5), "s": ("■", 6), "^": ("▲", 7.5), "D": ("◆", 6), "v": ("▼", 7.5), "P": ("✚", 8),
           "*": ("★", 10), "X": ("✖", 8)}  # as text, and the size in points that makes all look alike  # fmt: skip

# What pictures on pages are drawn in: colours that nothing else has, one for each role.
ON_PAGE = {role: "#" + 3 * f"{number:02}" for number, role in enumerate(COLOURS, start=1)}


def variables() -> str:
    """The style sheet's variables, one per role: var(--ink)."""
    light, dark, printed = (
        " ".join(f"--{role}: {colour};" for role, colour in colours.items()) for colours in (LIGHT, DARK, PRINT)
    )
    return (
        f":root {{ {light} color-scheme: light dark; }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ {printed} }} }}\n"
    )
