# escape=`
ARG WINDOWS=ltsc2019
ARG JAVA_MAJOR=17
ARG JAVA=${JAVA_MAJOR:-11}
FROM mcr.microsoft.com/windows/servercore:${WINDOWS} AS base
ARG JAVA
ENV JAVA_VERSION=$JAVA JAVA_HOME=C:\java\$JAVA
LABEL java.version="${JAVA_VERSION}"
FROM base AS jre
WORKDIR $JAVA_HOME
COPY tools\jre .\
FROM jre AS final
ARG EDITION=full
COPY dist\app-${EDITION%-*}.jar C:\app\app.jar
CMD java -jar C:\app\app.jar
