#!/usr/bin/env bash
# A real SLURM on this machine alone, for tests: one node on 127.0.0.1, no accounting, everything in one folder.
# Needs root and Debian's packages slurm-wlm and munge (apt-get install slurm-wlm munge).
#
#   slurm_loopback.sh start DIR   starts munged, slurmctld and slurmd; returns when jobs can run
#   slurm_loopback.sh stop DIR    stops what start started
#
# The node claims one GPU, so that jobs can ask for it; /dev/null stands behind it.
# /etc/slurm/slurm.conf and gres.conf become links into DIR until stop: Snakemake's plugin hides SLURM_CONF from the steps
# of a job.
#
# Exit status 3 and one line of reason: this machine cannot run it.
set -euo pipefail

ETC=/etc/slurm
FILES="slurm.conf gres.conf"

cannot() {
    echo "SLURM cannot run here: $1" >&2
    exit 3
}

start() {
    local dir=$1 host file
    [ "$(id -u)" = 0 ] || cannot "it must be started as root"
    for program in munged slurmctld slurmd sbatch squeue scontrol; do
        command -v "$program" > /dev/null || cannot "$program is missing (apt-get install slurm-wlm munge)"
    done
    pgrep -x slurmctld > /dev/null && cannot "another slurmctld is running"
    for file in $FILES; do
        if [ -e "$ETC/$file" ] || [ -L "$ETC/$file" ]; then
            cannot "$ETC/$file exists, so this machine belongs to a cluster"
        fi
    done
    mkdir -p "$dir/state" "$dir/spool"
    host=$(hostname -s)
    local cpus memory
    cpus=$(nproc)
    memory=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024 * 8 / 10))
    cat > "$dir/slurm.conf" << CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURM_LOOPBACK_PORT:-16817}
SlurmdPort=$((${SLURM_LOOPBACK_PORT:-16817} + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
MinJobAge=600
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    # slurmd counts only GPUs with a device file
    echo "Name=gpu File=/dev/null" > "$dir/gres.conf"
    # a key and a socket of its own, so that a munge already running here is left alone
    dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 2> /dev/null
    chmod 600 "$dir/munge.key"
    munged --force --key-file "$dir/munge.key" --socket "$dir/munge.socket" --pid-file "$dir/munged.pid" \
        --log-file "$dir/munged.log" --seed-file "$dir/munge.seed" || cannot "munged did not start, see $dir/munged.log"
    mkdir -p "$ETC"
    for file in $FILES; do ln -s "$dir/$file" "$ETC/$file"; done
    slurmctld || { stop "$dir"; cannot "slurmctld did not start, see $dir/slurmctld.log"; }
    slurmd || { stop "$dir"; cannot "slurmd did not start, see $dir/slurmd.log"; }
    for _ in $(seq 60); do
        # exactly idle: "down", "idle*" (not answering) and "unknown" cannot run jobs
        if [ "$(sinfo --noheader --format=%t 2> /dev/null)" = idle ]; then
            return
        fi
        sleep 0.5
    done
    stop "$dir"
    cannot "the node did not become idle, see $dir/slurmctld.log and $dir/slurmd.log"
}

stop() {
    local dir=$1 daemon file
    for daemon in slurmd slurmctld munged; do
        if [ -f "$dir/$daemon.pid" ]; then
            kill "$(cat "$dir/$daemon.pid")" 2> /dev/null || true
        fi
    done
    for file in $FILES; do
        if [ "$(readlink "$ETC/$file" 2> /dev/null)" = "$dir/$file" ]; then rm "$ETC/$file"; fi
    done
}

[ $# = 2 ] || { echo "usage: $0 start|stop DIR" >&2; exit 2; }
case $1 in
    start) start "$(realpath -m "$2")" ;;
    stop) stop "$(realpath -m "$2")" ;;
    *) echo "usage: $0 start|stop DIR" >&2; exit 2 ;;
esac
