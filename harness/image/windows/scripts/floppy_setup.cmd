@echo off
rem Run by Setup of Windows XP near its end, as the system.
echo nicproof: phase finish>COM1
