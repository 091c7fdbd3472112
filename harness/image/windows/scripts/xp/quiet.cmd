@echo off
rem Nothing that sends frames of its own accord, changes the system by itself, or waits for a person.
netsh firewall set opmode disable
for %%s in (wuauserv BITS SSDPSRV upnphost Browser W32Time wscsvc srservice ERSvc WZCSVC Messenger) do (
    sc config %%s start= disabled
    sc stop %%s
)
rem NetBIOS names are asked of a server only, and there is none: no broadcasts.
reg add HKLM\SYSTEM\CurrentControlSet\Services\NetBT\Parameters /v NodeType /t REG_DWORD /d 2 /f
rem The tests use IPv6.
netsh interface ipv6 install
netsh interface ipv6 set privacy state=disabled
netsh interface ipv6 set teredo disabled
netsh interface ipv6 6to4 set state disabled disabled
rem A driver is looked for here and not in the Internet, and nobody is asked.
set search=HKLM\SOFTWARE\Policies\Microsoft\Windows\DriverSearching
for %%v in (DontPromptForWindowsUpdate DontSearchWindowsUpdate) do reg add %search% /v %%v /t REG_DWORD /d 1 /f
rem A crash stays on the screen.
reg add HKLM\SYSTEM\CurrentControlSet\Control\CrashControl /v AutoReboot /t REG_DWORD /d 0 /f
reg add "HKU\.DEFAULT\Control Panel\Desktop" /v ScreenSaveActive /t REG_SZ /d 0 /f
reg add "HKCU\Control Panel\Desktop" /v ScreenSaveActive /t REG_SZ /d 0 /f
net accounts /maxpwage:unlimited
