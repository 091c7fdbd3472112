@echo off
rem Run at the first logon to Windows XP.
for %%d in (D E F G H) do if exist %%d:\nicproof\setup.cmd call %%d:\nicproof\setup.cmd
