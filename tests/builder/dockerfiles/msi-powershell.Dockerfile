# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
ADD --checksum=sha256:7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730 https://files.example/odbc.msi C:\odbc.msi
RUN Start-Process msiexec.exe -ArgumentList '/i', 'C:\odbc.msi', '/qn' -Wait
