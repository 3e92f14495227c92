# escape=`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
ARG PYTHON=C:\Python
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1
USER ContainerAdministrator
COPY tools\python ${PYTHON}
COPY dist\site-packages ${PYTHON}\Lib\site-packages
RUN setx /M PATH "C:\Python;C:\Python\Scripts;%PATH%"
USER ContainerUser
ENTRYPOINT ["C:\\Python\\python.exe"]
CMD ["-m", "app"]
