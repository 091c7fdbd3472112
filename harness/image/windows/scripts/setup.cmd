@echo off
rem Run once, at the first logon, from the CD: everything but the drivers of devices that are not there yet.
echo nicproof: phase logon>COM1
if not exist C:\nicproof md C:\nicproof
xcopy %~dp0*.* C:\nicproof\ /e /y /r /q >NUL
if not exist C:\nicproof\logon.cmd (
    echo nicproof: failed the scripts could not be copied from the CD to C:\nicproof>COM1
    goto end
)
attrib -r C:\nicproof\*.* /s
cd /d C:\nicproof
call quiet.cmd >quiet.log 2>&1
call devices.cmd >devices.log 2>&1
call ssh.cmd
if exist C:\nicproof\failed goto end
reg add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run /v nicproof /t REG_SZ /d C:\nicproof\logon.cmd /f >NUL
echo once>C:\nicproof\hardware.todo
echo nicproof: installed>COM1
shutdown -s -f -t 0
:end
