# A Debian with systemd, through the life of the package. /lab/old.deb and /lab/new.deb differ in the version only.
export DEBIAN_FRONTEND=noninteractive
id() { systemctl show --property=MainPID --value ldsentry; }
says() { # waits for it in the journal, which follows
    timeout 120 journalctl --unit ldsentry --output cat --follow --no-tail | grep --max-count=1 "$1"
}
alert_for() { says "\"$1\""; }
gaps() { journalctl --unit ldsentry --output cat | grep 'gap: '; }

# Something is watched, and the sensor sees it, as soon as the package is there.
dpkg --install /lab/old.deb
systemctl is-enabled ldsentry
systemctl is-active ldsentry
echo /tmp/evil.so > /etc/ld.so.conf.d/evil.conf
alert_for /etc/ld.so.conf.d/evil.conf
systemctl show --property=StatusText ldsentry | grep watching
test "$(stat --format=%a /var/lib/ldsentry)" = 700

# The unit lets it make its own sandbox, and nothing of that is missing.
says 'sandbox: capabilities CAP_DAC_READ_SEARCH; writes only to its directories (Landlock [0-9]*); system calls filtered'
journalctl --unit ldsentry --output cat | grep 'the sandbox is not whole' && exit 1
grep --extended-regexp 'CapPrm:\s0000000000000004$' "/proc/$(id)/status"

# Whoever kills it, or stops it from moving, has won seconds.
first=$(id)
kill -KILL "$first"
timeout 120 sh -c 'until systemctl is-active ldsentry && [ "$(systemctl show --property=MainPID --value ldsentry)" != '"$first"' ]; do sleep 0.2; done'

# Stopped and not killed, it does not move and nobody sees it gone but the watchdog.
stopped=$(id)
kill -STOP "$stopped"
timeout 120 sh -c 'until systemctl is-active ldsentry && [ "$(systemctl show --property=MainPID --value ldsentry)" != '"$stopped"' ]; do sleep 0.2; done'
journalctl --unit ldsentry --output cat | grep 'Watchdog timeout'

# What happens while none runs, it sees all the same: the programs stay in the kernel.
systemctl stop ldsentry
ls /sys/fs/bpf/ldsentry/abi*/links || { journalctl --unit ldsentry --output cat; exit 1; }
mv /etc/ld.so.conf.d/evil.conf /etc/ld.so.conf.d/unattended.conf
systemctl start ldsentry
alert_for /etc/ld.so.conf.d/unattended.conf
mv /etc/ld.so.conf.d/unattended.conf /etc/ld.so.conf.d/evil.conf

# An upgrade keeps the configuration that somebody wrote, and starts the new one.
echo '# ours' >> /etc/ldsentry/ldsentry.toml
second=$(id)
dpkg --install /lab/new.deb
dpkg-query --show ldsentry | grep 99.0.0
grep '^# ours' /etc/ldsentry/ldsentry.toml
systemctl is-active ldsentry
test "$(id)" != "$second"
mv /etc/ld.so.conf.d/evil.conf /etc/ld.so.conf.d/again.conf
alert_for /etc/ld.so.conf.d/again.conf

# What is changed is in force without a restart; a mistake leaves what was in force, and says which line it is.
third=$(id)
printf '[output.file]\npath = "/var/log/ldsentry/alerts.ndjson"\n' >> /etc/ldsentry/ldsentry.toml
systemctl reload ldsentry
mv /etc/ld.so.conf.d/again.conf /etc/ld.so.conf.d/reloaded.conf
timeout 120 sh -c 'until grep --quiet reloaded.conf /var/log/ldsentry/alerts.ndjson; do sleep 0.2; done'
echo 'nonsense = 1' >> /etc/ldsentry/ldsentry.toml
systemctl reload ldsentry && exit 1
journalctl --unit ldsentry --output cat | grep 'nonsense'
systemctl is-active ldsentry
test "$(id)" = "$third"

# Started anew, it is not tried over and over.
systemctl restart ldsentry && exit 1
systemctl is-failed ldsentry
sed -i '/nonsense/d' /etc/ldsentry/ldsentry.toml
systemctl restart ldsentry

# Nothing of this left a time in which nobody watched.
gaps && exit 1

# Gone, but for what an administrator made; then that too.
dpkg --remove ldsentry
systemctl is-active ldsentry && exit 1
test ! -e /usr/bin/ldsentry
# The programs too.
test ! -e /sys/fs/bpf/ldsentry
test -e /etc/ldsentry/ldsentry.toml
dpkg --purge ldsentry
for left in /etc/ldsentry /var/lib/ldsentry /var/log/ldsentry /run/ldsentry; do
    test ! -e "$left"
done
systemctl list-unit-files | grep ldsentry && exit 1
exit 0
