@echo off
rem Run at each logon, which is automatic.
if exist C:\nicproof\hardware.todo (
    call C:\nicproof\hardware.cmd
    goto :eof
)
echo nicproof: ready>COM1
