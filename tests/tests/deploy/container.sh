# A node: the sensor's image under runc, an attack on the node, and one in another container.
seen() { # waits for a text in what the sensor says
    timeout 200 sh -c 'until grep --quiet "$1" /run/sensor.out; do
        runc state sensor >/dev/null && kill -0 "$(cat /run/sensor.pid)" || exit 1
        sleep 0.2
    done' seen "$1" || { cat /run/sensor.out >&2; exit 1; }
}
echo node-7 > /etc/hostname
head --bytes=16 /dev/urandom | od --address-radix=n --format=x1 | tr --delete ' \n' > /etc/machine-id
echo "machine_id=$(cat /etc/machine-id)"

# As a kubelet lays the files of a ConfigMap or Secret: links to links, so that all change at once, in a directory that is for all to
# write to, mounted read-only.
lay() { # name, and the directory that they are in
    to=/run/volumes/$1
    new=..$(date +%Y_%m_%d_%H_%M_%S.%N)
    old=$(readlink "$to/..data" || true)
    mkdir -p "$to/$new"
    chmod 1777 "$to"
    find "$2" -type f ! -name .keep -exec cp '{}' "$to/$new/" ';'
    ln -s "$new" "$to/..data_tmp"
    mv --no-target-directory "$to/..data_tmp" "$to/..data"
    for file in $(ls "$to/$new"); do ln -sf "..data/$file" "$to/$file"; done
    if [ -n "$old" ]; then rm -r "${to:?}/$old"; fi
}
for map in /lab/configmaps/*; do
    lay "$(basename "$map")" "$map"
done
mkdir /run/secret
base64 --decode /lab/secrets/ldsentry-secrets/api_key > /run/secret/api_key
chmod 400 /run/secret/api_key
lay ldsentry-secrets /run/secret

# Elasticsearch, for as much of it as an output needs: says what it was sent, and that it took it.
cat > /run/server.pl <<'END'
use IO::Socket::INET;
$| = 1;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1:9200', Listen => 5, ReuseAddr => 1) or die $!;
while (my $client = $server->accept) {
    my ($length, $head, $body) = (0, '', '');
    while (my $line = <$client>) {
        $head .= $line;
        $length = $1 if $line =~ /^content-length: *(\d+)/i;
        last if $line =~ /^\r?$/;
    }
    read $client, $body, $length;
    open my $file, '>', '/run/body' or die $!;
    print $file $body;
    close $file;
    my $sent = $head =~ /^content-encoding: *gzip/im ? `gzip -dc /run/body` : $body;
    print $head, $sent;
    my $items = join ',', map { '{"create":{"status":201}}' } $sent =~ /^\{"create":/mg;
    my $answer = qq({"items":[$items]});
    printf $client "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s",
        length $answer, $answer;
    close $client;
}
END
in_its_network() { nsenter --net="/proc/$(cat /run/sensor.pid)/ns/net" "$@"; }
received() { # waits for a text in what the server was sent
    timeout 100 sh -c 'until grep --quiet "$1" /run/received; do sleep 0.2; done' received "$1" \
        || { cat /run/received /run/sensor.out >&2; exit 1; }
}
mountpoint --quiet /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/ldsentry /var/lib/ldsentry /etc/ssl/certs /run/bundles/sensor/rootfs
tar --extract --file /lab/rootfs.tar --directory /run/bundles/sensor/rootfs
cp /lab/sensor.json /run/bundles/sensor/config.json
runc run --detach --pid-file /run/sensor.pid --bundle /run/bundles/sensor sensor > /run/sensor.out 2>&1
seen '"message":"watching'
grep Cap "/proc/$(cat /run/sensor.pid)/status"
# In its own sandbox as well, and nothing of that is missing.
seen 'sandbox: capabilities CAP_DAC_READ_SEARCH; writes only to its directories (Landlock [0-9]*); system calls filtered'
grep 'the sandbox is not whole' /run/sensor.out && exit 1

# What the probes ask.
in_its_network bash -c 'exec 3<>/dev/tcp/127.0.0.1/9477; printf "GET /readyz HTTP/1.0\r\n\r\n" >&3; cat <&3' | tee /run/readyz
head --lines=1 /run/readyz | grep --quiet ' 200 '

echo /tmp/evil > /etc/ld.so.conf.d/on-the-host.conf
seen '"/etc/ld.so.conf.d/on-the-host.conf"'

# The output has waited for its server, which is given the key that the Secret has, and then the one that it has by now.
in_its_network perl /run/server.pl > /run/received &
received '"path":"/etc/ld.so.conf.d/on-the-host.conf"'
received "authorization: ApiKey $(cat /run/secret/api_key)"
echo another-key > /run/secret/api_key
lay ldsentry-secrets /run/secret
mv /etc/ld.so.conf.d/on-the-host.conf /etc/ld.so.conf.d/another-key.conf
received '"path":"/etc/ld.so.conf.d/another-key.conf"'
received 'authorization: ApiKey another-key'

# A rule is put into the ConfigMap, and is in force when the sensor is told to reload.
mkdir /run/rules
cat > /run/rules/mine.toml <<'END'
[rule]
name = "mine"
rule_id = "mine"
description = "From a ConfigMap."
type = "eql"
risk_score = 1
severity = "low"
query = 'file where event.action == "creation" and file.path == "/etc/mine"'
END
lay ldsentry-rules /run/rules
runc exec sensor /usr/bin/ldsentry reload
echo > /etc/mine
seen '"kibana.alert.rule.rule_id":"mine"'

# A container of a pod, with this Debian below it, and what a kubelet leaves on the node about it.
pod=8f2f6f3c-3a5e-4e0b-9d8c-0c2f5a1b7e44
container=$(printf other | sha256sum | cut -d ' ' -f 1)
echo "pod=$pod"
echo "container=$container"
mkdir -p /var/log/containers
: > "/var/log/containers/shop-6b8f9d5c7-xk2lp_team-a_web-$container.log"
mkdir -p /run/other/upper /run/other/work /run/other/rootfs
mount -t overlay -o lowerdir=/,upperdir=/run/other/upper,workdir=/run/other/work overlay /run/other/rootfs
cd /run/other
runc spec
sed --in-place 's/"terminal": true/"terminal": false/; s|"sh"|"sh", "-c", "echo /tmp/evil > /etc/ld.so.preload"|; s/"readonly": true/"readonly": false/
    s|"linux": {|&"cgroupsPath": "/kubepods/besteffort/pod'"$pod/$container"'",|' config.json
runc run "$container"
seen '"/etc/ld.so.preload"'

# All that it ever had, at its start, and what its cgroup has.
grep -E 'VmHWM|VmRSS' "/proc/$(cat /run/sensor.pid)/status"
cat /sys/fs/cgroup/kubepods/sensor/memory.current /sys/fs/cgroup/kubepods/sensor/memory.peak
test "$(($(awk '/VmHWM/ { print $2 }' "/proc/$(cat /run/sensor.pid)/status") * 1024))" -lt "$(cat /lab/memory_limit)"
test "$(awk '$1 == "max" { print $2 }' /sys/fs/cgroup/kubepods/sensor/memory.events)" = 0
runc kill sensor TERM
timeout 60 sh -c 'until runc state sensor | grep --quiet stopped; do sleep 0.2; done'
cat /run/sensor.out

# What happens on the node until there is another pod, that one tells.
ls /sys/fs/bpf/ldsentry/abi*/links
echo /tmp/evil > /etc/ld.so.conf.d/unattended.conf
runc delete sensor
runc run --detach --pid-file /run/sensor.pid --bundle /run/bundles/sensor sensor > /run/sensor.out 2>&1
seen '"/etc/ld.so.conf.d/unattended.conf"'
grep 'gap: ' /run/sensor.out && exit 1
exit 0
