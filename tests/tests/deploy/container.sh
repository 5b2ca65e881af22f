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

# As a kubelet lays them: links to links, so that all files of a ConfigMap change at once.
for map in /lab/configmaps/*; do
    to=/run/configmaps/$(basename "$map")
    mkdir -p "$to/..2026_11_26"
    cp "$map"/* "$to/..2026_11_26/" 2>/dev/null || true
    ln -s ..2026_11_26 "$to/..data"
    for file in "$to"/..data/*; do
        if [ -e "$file" ]; then ln -s "..data/$(basename "$file")" "$to/"; fi
    done
done
mountpoint --quiet /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/ldsentry /var/lib/ldsentry /run/bundles/sensor/rootfs
tar --extract --file /lab/rootfs.tar --directory /run/bundles/sensor/rootfs
cp /lab/sensor.json /run/bundles/sensor/config.json
runc run --detach --pid-file /run/sensor.pid --bundle /run/bundles/sensor sensor > /run/sensor.out 2>&1
seen '"message":"watching'
grep Cap "/proc/$(cat /run/sensor.pid)/status"
# In its own sandbox as well, and nothing of that is missing.
seen 'sandbox: capabilities CAP_DAC_READ_SEARCH; writes only to its directories (Landlock [0-9]*); system calls filtered'
grep 'the sandbox is not whole' /run/sensor.out && exit 1

echo /tmp/evil > /etc/ld.so.conf.d/on-the-host.conf
seen '"/etc/ld.so.conf.d/on-the-host.conf"'

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

grep -E 'VmHWM|VmRSS' "/proc/$(cat /run/sensor.pid)/status"
cat /sys/fs/cgroup/kubepods/sensor/memory.current
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
