# escape=`
FROM registry.example/base-with-check:1
HEALTHCHECK NONE
COPY app C:\app
