"""The two ways by which text gets into a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from hypothesis import example, given
from hypothesis import strategies as st

from wclayer.pages.page import html_text, json_text, visible

_TEXTS = st.text(st.characters(), max_size=50)


class _Parser(HTMLParser):
    """What a page has beside text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append(data)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(_TEXTS)
@example("</td><script>")
@example("<!--")
@example("\ud800")
@example("a\u202eb\x1b[0m")
def test_a_text_is_only_text(text: str) -> None:
    parser = _Parser()
    parser.feed(f"<td title='{html_text(text)}'>{html_text(text)}")
    parser.close()
    assert (parser.found, parser.text) == (["td"], visible(text))
    html_text(text).encode()
    assert not {"\u202e", "\x1b", "\u2028"} & set(visible(text))


@given(st.lists(_TEXTS))
@example(["</script>", "<!--<script>", "&amp;"])
def test_json_ends_no_element_and_reads_back(texts: list[str]) -> None:
    text = json_text(texts)
    assert not {"<", ">", "&"} & set(text)
    assert text.isascii()
    assert json.loads(text) == texts
