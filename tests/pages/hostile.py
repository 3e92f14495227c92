"""Texts that a browser or a terminal would obey, for the tests of pages."""

HOSTILE = [
    "</script><script>window.ran=1</script>",
    "<img src=http://example.org/x onerror=window.ran=1>",
    '"><svg onload=window.ran=1>',
    "' onmouseover=window.ran=1 '",
    "{{script}}",
    "<!--<script>",
    "\u202egnp.exe",
    "\x1b[31mred\x1b[0m",
    "javascript:window.ran=1",
    "line\u2028separator",
    "&lt;already&gt;",
    "__proto__",
    "x" * 5000,
]
