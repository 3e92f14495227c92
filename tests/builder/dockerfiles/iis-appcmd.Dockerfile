# escape=`
FROM mcr.microsoft.com/windows/servercore/iis:windowsservercore-ltsc2022
COPY site C:\site
RUN C:\Windows\System32\inetsrv\appcmd.exe set site "Default Web Site" `
    /[path='/'].[path='/'].physicalPath:C:\site
