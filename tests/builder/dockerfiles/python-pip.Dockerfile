# escape=`
FROM registry.example/python:3.12-windowsservercore
WORKDIR C:\app
COPY requirements.txt .
RUN python -m pip install --no-cache-dir -r requirements.txt
COPY app .
CMD ["python", "-m", "app"]
