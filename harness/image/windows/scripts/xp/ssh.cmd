@echo off
rem The SSH server that the user gave: a folder of Cygwin packages with its setup program, or anything with an install.cmd,
rem which is given the file of authorized keys and leaves the host's public key in C:\nicproof\host_key.pub.
if not exist C:\nicproof\ssh goto :eof
echo nicproof: phase ssh>COM1
if exist C:\nicproof\ssh\install.cmd (
    call C:\nicproof\ssh\install.cmd C:\nicproof\authorized_keys >C:\nicproof\ssh.log 2>&1
    goto check
)
for %%f in (C:\nicproof\ssh\setup-x86*.exe) do (
    start /wait %%f -q -B -n -N -d -X -L -R C:\cygwin -l C:\nicproof\ssh -P openssh,cygrunsrv
)
C:\cygwin\bin\bash.exe --login C:\nicproof\cygwin.sh >C:\nicproof\ssh.log 2>&1
:check
if not exist C:\nicproof\host_key.pub (
    echo nicproof: failed the SSH server was not installed: see C:\nicproof\ssh.log>COM1
    echo no>C:\nicproof\failed
    goto :eof
)
echo nicproof: begin host-key>COM1
type C:\nicproof\host_key.pub >COM1
echo nicproof: end host-key>COM1
rd /s /q C:\nicproof\ssh
