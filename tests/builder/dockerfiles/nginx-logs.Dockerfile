# escape=`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
MAINTAINER web team <web@example.org>
ADD tools\nginx.tar C:\
WORKDIR nginx
RUN --network=none copy conf\nginx.conf conf\nginx.conf.orig && type nul > logs\access.log
EXPOSE 80 443 8000-8002
VOLUME ["C:\\nginx\\logs"]
CMD ["nginx.exe", "-g", "daemon off;"]
