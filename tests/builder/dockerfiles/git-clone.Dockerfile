# escape=`
FROM registry.example/git:windows
WORKDIR C:\work
RUN git clone --depth 1 https://git.example/team/project.git . && git config --system core.longpaths true
