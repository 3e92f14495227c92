# escape=`
FORM mcr.microsoft.com/windows/nanoserver:ltsc2022
COPPY app C:\app
COPY --chmod=755 app C:\app
ENV NAME
EXPOSE eighty
CMD ["C:\app\app.exe"]
