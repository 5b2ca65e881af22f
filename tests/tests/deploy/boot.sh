# A Debian that boots with the package in it. Services that systemd shields get file systems of their own, with mounts over /etc.
log() { journalctl --unit ldsentry --output cat; }
alerts() { log | grep --count '"kibana.alert.rule.name"' || true; }
shielded() { # runs a service with these settings
    printf '[Service]\nType=oneshot\nExecStart=/bin/cat /etc/ld.so.conf\n' > /run/systemd/system/shielded.service
    printf '%s\n' "$@" >> /run/systemd/system/shielded.service
    systemctl daemon-reload
    systemctl start shielded
}

timeout 120 sh -c 'until systemctl is-active ldsentry; do sleep 0.2; done'
# All that is not up yet, and then all of it again, beside the sensor from its beginning to its end.
systemctl is-system-running --wait || true
for service in $(systemctl list-units --type=service --state=running --plain --no-legend | cut -d ' ' -f 1); do
    case $service in
    lab-agent.service | ldsentry.service) ;;
    *) systemctl restart "$service" ;;
    esac
done
shielded ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes ProtectKernelTunables=yes ReadWritePaths=/etc
shielded ProtectSystem=full DynamicUser=yes ReadOnlyPaths=/etc/ld.so.conf.d
shielded BindReadOnlyPaths=/etc TemporaryFileSystem=/srv
systemd-tmpfiles --create
ldconfig

# What is seen after that says that all of it was looked at.
echo '# changed' >> /etc/ld.so.conf
timeout 120 journalctl --unit ldsentry --output cat --follow --no-tail | grep --max-count=1 '"path":"/etc/ld.so.conf"'
if [ "$(alerts)" != 1 ]; then
    log
    exit 1
fi
