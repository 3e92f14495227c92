# escape=`
FROM mcr.microsoft.com/dotnet/framework/runtime:4.8.1-windowsservercore-ltsc2022
COPY app C:\service
RUN reg add HKLM\SOFTWARE\Example\Service /v DataDirectory /t REG_SZ /d C:\service\data /f && `
    reg add HKLM\SOFTWARE\Example\Service /v Port /t REG_DWORD /d 9000 /f && `
    mkdir C:\service\data
VOLUME C:\service\data
STOPSIGNAL SIGTERM
CMD ["C:\\service\\app.exe"]
