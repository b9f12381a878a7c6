"""How English counts: 1 problem, 2 problems."""


def counted(num: int, what: str) -> str:
    """So many of them, with the word in the singular or in the plural."""
    return f"{num:,} {what}" if num == 1 else f"{num:,} {what}s"
