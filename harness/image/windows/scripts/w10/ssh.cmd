@echo off
rem The SSH server that the user gave: Win32-OpenSSH unpacked, its MSI, or Microsoft's cabinet of the feature; or the one
rem that Windows has already.
if not exist C:\nicproof\ssh goto settle
echo nicproof: phase ssh>COM1
for %%f in (C:\nicproof\ssh\*.cab) do dism /online /add-package /packagepath:%%f /quiet /norestart >C:\nicproof\ssh.log 2>&1
for %%f in (C:\nicproof\ssh\*.msi) do msiexec /i %%f /qn /norestart /l* C:\nicproof\ssh.log
for /r C:\nicproof\ssh %%f in (install-sshd.ps?) do (
    xcopy "%%~dpf*.*" "C:\Program Files\OpenSSH\" /e /y /q >NUL
    powershell -NoProfile -ExecutionPolicy Bypass -File "C:\Program Files\OpenSSH\install-sshd.ps1" >C:\nicproof\ssh.log 2>&1
)
:settle
sc query sshd >NUL
if errorlevel 1 (
    if not exist C:\nicproof\ssh goto :eof
    goto failed
)
rem At its first start it makes its keys.
sc config sshd start= auto >NUL
net start sshd >>C:\nicproof\ssh.log 2>&1
set /a round=0
:again
if exist C:\ProgramData\ssh\ssh_host_ed25519_key.pub goto keys
set /a round+=1
if %round% geq 60 goto failed
ping -n 3 127.0.0.1 >NUL
goto again
:keys
set keys=C:\ProgramData\ssh\administrators_authorized_keys
copy /y C:\nicproof\authorized_keys %keys% >NUL
rem Administrators and the system, by their numbers: names depend on the language.
icacls %keys% /inheritance:r /grant *S-1-5-32-544:F /grant *S-1-5-18:F >NUL
echo nicproof: begin host-key>COM1
type C:\ProgramData\ssh\ssh_host_ed25519_key.pub >COM1
echo nicproof: end host-key>COM1
goto :eof
:failed
echo nicproof: failed the SSH server was not installed: see C:\nicproof\ssh.log>COM1
echo no>C:\nicproof\failed
