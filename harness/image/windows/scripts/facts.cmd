@echo off
rem What is inside, as the image's card will say it.
echo nicproof: begin version>COM1
ver >COM1
echo nicproof: end version>COM1
echo nicproof: begin user>COM1
echo %USERNAME%>COM1
echo nicproof: end user>COM1
echo nicproof: begin hal>COM1
reg query HKLM\SYSTEM\CurrentControlSet\Enum\Root\ACPI_HAL\0000 /v HardwareID >COM1 2>NUL
echo nicproof: end hal>COM1
echo nicproof: begin drivers>COM1
type C:\nicproof\class.txt >COM1
echo nicproof: end drivers>COM1
echo nicproof: begin services>COM1
reg query HKLM\SYSTEM\CurrentControlSet\Enum\PCI /s >COM1 2>NUL
echo nicproof: end services>COM1
