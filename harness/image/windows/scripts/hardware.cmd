@echo off
rem Run at the first logon with all devices present: waits until those with a driver on the CD have it, says what drives
rem each, and switches off. Which devices: wanted.txt, such as VEN_8086&DEV_100E, a line each.
echo nicproof: phase hardware>COM1
set class=HKLM\SYSTEM\CurrentControlSet\Control\Class
set /a round=0
:again
reg query %class%\{4D36E972-E325-11CE-BFC1-08002BE10318} /s >C:\nicproof\class.txt 2>NUL
reg query %class%\{4D36E97B-E325-11CE-BFC1-08002BE10318} /s >>C:\nicproof\class.txt 2>NUL
set missing=
for /f "delims=" %%i in (C:\nicproof\wanted.txt) do (
    find /i "%%i" C:\nicproof\class.txt >NUL
    if errorlevel 1 set missing=yes
)
if not defined missing goto complete
set /a round+=1
if %round% geq 180 goto complete
ping -n 6 127.0.0.1 >NUL
goto again
:complete
call C:\nicproof\facts.cmd
del C:\nicproof\hardware.todo
echo nicproof: done>COM1
shutdown -s -f -t 0
