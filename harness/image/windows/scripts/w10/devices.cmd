@echo off
rem Drivers go into the store, from which Windows takes them at each device that is new to it.
if not exist C:\nicproof\drivers goto :eof
powershell -NoProfile -ExecutionPolicy Bypass -File C:\nicproof\trust.ps1
pnputil /add-driver C:\nicproof\drivers\*.inf /subdirs /install
