# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["cmd", "/S", "/C"]
ADD --checksum=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 https://files.example/vs_buildtools.exe C:\TEMP\vs_buildtools.exe
RUN (start /w C:\TEMP\vs_buildtools.exe --quiet --wait --norestart --nocache `
      --installPath C:\BuildTools --add Microsoft.VisualStudio.Workload.VCTools `
      || IF "%ERRORLEVEL%"=="3010" EXIT 0) `
    && del /q C:\TEMP\vs_buildtools.exe
