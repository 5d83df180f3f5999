#!/bin/sh
# Process 1 of the guest, twice: in the archive that the kernel unpacks, then in a file system of which bubblewrap can make another root.
export PATH=/usr/bin
if [ "$1" != moved ]; then
  mount -t devtmpfs dev /dev
  mount -t tmpfs -o size=75%,mode=755 root /new
  for folder in usr bin sbin lib lib64 etc checkout; do cp -a "/$folder" /new/; done
  cp -a /init /new/guest.sh
  mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp /new/root
  exec switch_root /new /guest.sh moved
fi
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo 1 >/proc/sys/kernel/printk
echo "guest: $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
for file in /checkout/worker/sandbox/cgroup-v2-kernel.test.ts /checkout/worker/sandbox/layers-limits.test.ts; do
  node --test --test-reporter=tap "$file"
  echo "guest: ended $? $(basename "$file")"
done
echo o >/proc/sysrq-trigger
sleep 60
