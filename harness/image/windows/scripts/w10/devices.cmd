@echo off
rem Drivers go into the store, from which Windows takes them at each device that is new to it.
if exist C:\nicproof\drivers pnputil /add-driver C:\nicproof\drivers\*.inf /subdirs /install
