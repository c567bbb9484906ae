"""The little Markdown that our own documents use, as HTML: headings, lists, code, links."""

import re
from collections.abc import Iterator

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_LINK = re.compile(r"\[([^\]]+)\]\((/[^)\s]*|https?://[^)\s]+|[\w./#-]+)\)")


def html_of(text: str) -> SafeString:
    """The document as HTML; everything in it is escaped first."""
    return mark_safe("\n".join(_blocks(text)))  # noqa: S308  (escaped piece by piece)


def _blocks(text: str) -> Iterator[str]:
    for number, piece in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            yield f"<pre><code>{escape(piece.strip())}</code></pre>"
            continue
        for block in re.split(r"\n\s*\n", piece):
            if block.strip():
                yield _block(block.strip())


def _block(block: str) -> str:
    if match := re.fullmatch(r"(#{1,3}) (.+)", block):
        level = len(match[1])
        return f"<h{level}>{_inline(match[2])}</h{level}>"
    if re.match(r"[-*] ", block):
        return f"<ul>{_items(re.split(r'^[-*] ', block, flags=re.MULTILINE))}</ul>"
    if re.match(r"\d+\. ", block):
        return f"<ol>{_items(re.split(r'^[0-9]+[.] ', block, flags=re.MULTILINE))}</ol>"
    heading, newline, rest = block.partition("\n")
    if heading.startswith("#") and newline:
        return f"{_block(heading)}\n{_block(rest.strip())}"
    return f"<p>{_inline(block)}</p>"


def _items(items: list[str]) -> str:
    return "".join(f"<li>{_inline(item.strip())}</li>" for item in items if item.strip())


def _inline(text: str) -> str:
    safe = str(escape(text))
    safe = _CODE.sub(r"<code>\1</code>", safe)
    safe = _BOLD.sub(r"<strong>\1</strong>", safe)
    return _LINK.sub(r'<a href="\2">\1</a>', safe)
