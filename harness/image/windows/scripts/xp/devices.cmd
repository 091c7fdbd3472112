@echo off
rem Windows knows its devices, but has no program on board that says so.
if exist C:\nicproof\devcon.exe copy /y C:\nicproof\devcon.exe %SystemRoot%\system32\devcon.exe
rem Windows looks for drivers in these folders, at each device that is new to it.
set path_=%%SystemRoot%%\inf
for /d %%f in (C:\nicproof\drivers\*) do call :add %%f
reg add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion /v DevicePath /t REG_EXPAND_SZ /d "%path_%" /f
goto :eof
:add
set path_=%path_%;%1
goto :eof
