@echo off
rem Nothing that sends frames of its own accord, changes the system by itself, or waits for a person.
netsh advfirewall set allprofiles state off
for %%s in (wuauserv UsoSvc WaaSMedicSvc BITS DoSvc SSDPSRV upnphost fdPHost FDResPub lltdsvc Browser W32Time DiagTrack WSearch SysMain) do (
    sc config %%s start= disabled
    sc stop %%s
)
rem Discovery of the network's shape, and of neighbours: protocol drivers that send on every interface.
for %%s in (lltdio rspndr mslldp) do sc config %%s start= disabled
set policies=HKLM\SOFTWARE\Policies\Microsoft
reg add %policies%\Windows\WindowsUpdate\AU /v NoAutoUpdate /t REG_DWORD /d 1 /f
reg add "%policies%\Windows Defender" /v DisableAntiSpyware /t REG_DWORD /d 1 /f
reg add "%policies%\Windows Defender\Real-Time Protection" /v DisableRealtimeMonitoring /t REG_DWORD /d 1 /f
rem A driver is looked for here and not in the Internet.
reg add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\DriverSearching /v SearchOrderConfig /t REG_DWORD /d 0 /f
rem LLMNR, mDNS, the probe for the Internet, NetBIOS names by broadcast.
reg add "%policies%\Windows NT\DNSClient" /v EnableMulticast /t REG_DWORD /d 0 /f
reg add HKLM\SYSTEM\CurrentControlSet\Services\Dnscache\Parameters /v EnableMDNS /t REG_DWORD /d 0 /f
reg add %policies%\Windows\NetworkConnectivityStatusIndicator /v NoActiveProbe /t REG_DWORD /d 1 /f
reg add HKLM\SYSTEM\CurrentControlSet\Services\NlaSvc\Parameters\Internet /v EnableActiveProbing /t REG_DWORD /d 0 /f
reg add HKLM\SYSTEM\CurrentControlSet\Services\NetBT\Parameters /v NodeType /t REG_DWORD /d 2 /f
reg add HKLM\SYSTEM\CurrentControlSet\Control\Network\NewNetworkWindowOff /f
rem The tests use IPv6: link-local addresses are made of the MAC address, and nothing tunnels.
netsh interface ipv6 set global randomizeidentifiers=disabled
netsh interface ipv6 set privacy state=disabled
netsh interface teredo set state disabled
netsh interface isatap set state disabled
netsh interface 6to4 set state disabled
rem No sleep; a crash stays on the screen; a guest that is ended hard is not repaired at its next start.
powercfg /hibernate off
for %%t in (standby monitor disk) do powercfg /change %%t-timeout-ac 0
reg add HKLM\SYSTEM\CurrentControlSet\Control\CrashControl /v AutoReboot /t REG_DWORD /d 0 /f
bcdedit /set {default} recoveryenabled no
bcdedit /set {default} bootstatuspolicy ignoreallfailures
rem Commands at logon and over SSH have all rights.
reg add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System /v EnableLUA /t REG_DWORD /d 0 /f
net accounts /maxpwage:unlimited
