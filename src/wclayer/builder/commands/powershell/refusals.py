"""What of PowerShell is refused, and what can be done instead."""

from __future__ import annotations

_DOWNLOADS = "nothing is fetched in a build; use ADD --checksum=sha256:… URL, or COPY the file"
_FEATURES = "Windows features need Windows; begin with an image that has them, or build on Windows"
_INSTALLERS = "installers do not run here; COPY what they would install, or build on Windows"
_PROCESSES = "programs do not run here; COPY what the program would make, or build on Windows"
_SERVICES = "no service runs in a build; write its keys with New-Item and New-ItemProperty on HKLM:\\SYSTEM"
_MODULES = "packages are not fetched in a build; COPY the module to C:\\Program Files\\WindowsPowerShell\\Modules"
_TEXTS = "reading is not supported; write the value itself, or COPY a file"
_LOOPS = "loops are not supported; write the statements one by one"
_SCRIPTS = "scripts do not run here; write the commands themselves"
_LISTS = "listings are not supported; use Test-Path in `if`, or leave it out"
_CLOCK = "a build has no clock of its own; leave it out"
_BUILT_IN = "is a command of cmd; write cmd /c {0} …"

COMMANDS = {
    **dict.fromkeys(("invoke-webrequest", "iwr", "wget", "curl", "invoke-restmethod", "irm", "start-bitstransfer",
                     "curl.exe", "bitsadmin", "bitsadmin.exe"), _DOWNLOADS),
    **dict.fromkeys(("install-windowsfeature", "add-windowsfeature", "uninstall-windowsfeature",
                     "remove-windowsfeature", "enable-windowsoptionalfeature", "disable-windowsoptionalfeature",
                     "add-windowscapability", "dism", "dism.exe"), _FEATURES),
    **dict.fromkeys(("msiexec", "msiexec.exe", "choco", "choco.exe", "winget", "scoop", "wusa", "wusa.exe",
                     "add-appxpackage", "add-windowspackage"), _INSTALLERS),
    **dict.fromkeys(("start-process", "saps", "start", "invoke-command", "icm", "start-job", "sajb"), _PROCESSES),
    **dict.fromkeys(("start-service", "sasv", "stop-service", "spsv", "new-service", "set-service",
                     "restart-service", "get-service", "gsv", "remove-service", "sc.exe"), _SERVICES),
    **dict.fromkeys(("install-module", "install-package", "install-packageprovider", "install-script",
                     "register-psrepository", "set-psrepository", "update-module", "save-module", "find-module",
                     "import-module", "ipmo"), _MODULES),
    **dict.fromkeys(("get-content", "gc", "cat", "type", "get-itemproperty", "gp", "get-itempropertyvalue", "gpv",
                     "get-item", "gi", "get-filehash", "get-acl", "get-variable", "gv", "resolve-path", "rvpa",
                     "convertfrom-json", "convertto-json", "select-string", "sls", "import-csv"), _TEXTS),
    **dict.fromkeys(("get-childitem", "gci", "ls", "dir", "get-command", "gcm", "get-module", "gmo", "get-process",
                     "gps", "ps"), _LISTS),
    **dict.fromkeys(("foreach-object", "foreach", "%", "where-object", "where", "?"), _LOOPS),
    **dict.fromkeys(("invoke-expression", "iex"), _SCRIPTS),
    **dict.fromkeys(("get-date", "start-sleep", "sleep"), _CLOCK),
    **dict.fromkeys(("mklink", "assoc", "ftype", "call", "ver", "vol"), _BUILT_IN),
    "set-executionpolicy": "scripts do not run here, so it has no use; leave it out, or set the value in "
    "HKLM:\\SOFTWARE\\Microsoft\\PowerShell\\1\\ShellIds\\Microsoft.PowerShell",
    "new-object": "objects are not supported; " + _DOWNLOADS,
    "set": "write $env:NAME = 'VALUE'",
    "set-acl": "use icacls",
    "set-variable": "write $NAME = VALUE",
    "sv": "write $NAME = VALUE",
    "new-localuser": "accounts are in a hive that is not changed here; use an account that Windows has",
    "out-file": "use Set-Content or Add-Content, and its -Encoding",
    "tee-object": "use Set-Content",
    "new-psdrive": "drives are not supported; write Registry::HKEY_CLASSES_ROOT\\… for other parts of the registry",
}  # fmt: skip
"""Cmdlets and programs that are often used and cannot be carried out, by their names in lower case."""

KEYWORDS = {
    **dict.fromkeys(("for", "foreach", "while", "do", "until"), _LOOPS),
    **dict.fromkeys(("function", "filter", "param", "begin", "process", "end", "dynamicparam", "class", "enum",
                     "using", "workflow", "configuration"), "definitions are not supported; write the commands "
                    "themselves"),
    **dict.fromkeys(("try", "catch", "finally", "trap"),
                    "is not supported; -ErrorAction SilentlyContinue lets a script go on after an error"),
    **dict.fromkeys(("break", "continue", "return"), "is not supported; write exit CODE"),
    "switch": "is not supported; write if (…) { … } elseif (…) { … }",
    "data": "is not supported; write the values",
}  # fmt: skip
"""Words that begin a statement which is not supported."""

OPERATORS = {
    **dict.fromkeys(("-", "*", "/", "%"), "calculations are not supported; write the result"),
    "..": "ranges are not supported; write the values with commas between them",
    **dict.fromkeys(("-replace", "-ireplace", "-creplace", "-split", "-isplit", "-csplit", "-join"),
                    "is not supported; write the result"),
    **dict.fromkeys(("-like", "-notlike", "-ilike", "-clike", "-match", "-notmatch", "-imatch", "-cmatch", "-contains",
                     "-notcontains", "-in", "-notin", "-is", "-isnot"), "is not supported; use -eq or -ne"),
    **dict.fromkeys(("-as", "-band", "-bor", "-bxor", "-bnot", "-xor", "-shl", "-shr"), "is not supported; write the "
                    "result"),
    **dict.fromkeys(("-igt", "-ige", "-ilt", "-ile", "-cgt", "-cge", "-clt", "-cle"), "is not supported; write -gt, "
                    "-ge, -lt or -le"),
}  # fmt: skip
"""Operators that are not supported."""

UNKNOWN = (
    "this command or program cannot be carried out without Windows; docs/build.md has the table of cmdlets and of "
    "programs that can. COPY what it would make, or build on Windows"
)
"""What can be done about a command that nothing knows."""


TYPES = {
    "net.": _DOWNLOADS,
    "io.": "use the cmdlets for files",
    "convert": "write the result",
    "diagnostics.": _PROCESSES,
}
"""What can be done about the types of .NET that are often used, by the beginning of their names without `System.`."""


def refusal_of(name: str) -> str:
    """Returns what can be done about a command that is not supported."""
    return COMMANDS.get(name.lower(), UNKNOWN).format(name)
