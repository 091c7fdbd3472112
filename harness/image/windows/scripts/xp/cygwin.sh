# Run by Cygwin's bash, once. The service runs as the system, which on Windows XP may log on anybody.
set -e
cd /cygdrive/c/nicproof
ssh-host-config --yes --port 22
echo 'StrictModes no' >>/etc/sshd_config
mkdir -p ~/.ssh
tr -d '\r' <authorized_keys >~/.ssh/authorized_keys
chmod 700 ~/.ssh
chmod 600 ~/.ssh/authorized_keys
cygrunsrv -S sshd
cp /etc/ssh_host_ed25519_key.pub host_key.pub
