# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
ENV JAVA_HOME=C:\jre
COPY tools\jre $JAVA_HOME
COPY dist\*.jar C:\app\
RUN setx /M PATH "%JAVA_HOME%\bin;%PATH%"
WORKDIR C:\app
CMD ["java", "-jar", "app.jar"]
