#!/usr/bin/env bash
# The CUDA executor on a machine with a GPU: every instruction and whole nets against the CPU, then the time of training steps.
#
#   tools/device/cuda.sh         builds and runs, in about eight minutes, most of them the build
#   tools/device/cuda.sh pack    builds only, into target/device: what another machine without Rust needs, beside this script
#   tools/device/cuda.sh run     runs what lies in target/device
#
# Needs NVIDIA's driver and libnvrtc where the loader looks. LOWBIT_DATA is the folder of shared detectors; without it their part is left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
packed=${CARGO_TARGET_DIR:-target}/device

pack() {
    mkdir -p "$packed"
    local built
    built=$(
        cargo test --locked --release -p lowbit-train --features cuda --test cuda --test differences --no-run --message-format=json
        cargo build --locked --release -p lowbit-train --features cuda --example cuda_speed --message-format=json
    )
    built=$(sed -n 's/.*"name":"\(cuda\|differences\|cuda_speed\)".*"executable":"\([^"]*\)".*/\1 \2/p' <<<"$built")
    while read -r name file; do
        strip -o "$packed/$name" "$file"
    done <<<"$built"
}

run() {
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || echo "nvidia-smi is not found"
    export LOWBIT_REQUIRE=${LOWBIT_REQUIRE:-cuda,nvrtc}
    # One after the other: the tests share the GPU.
    timeout 240 "$packed/cuda" --test-threads 2 --nocapture
    timeout 120 "$packed/differences" --test-threads 2
    if [ -n "${LOWBIT_DATA:-}" ]; then
        for model in mbv2_yolov3_nano_voc:32 nanodet_m_416:16 yolov8n_320:16; do
            timeout 60 "$packed/cuda_speed" "$LOWBIT_DATA/models/${model%:*}.onnx" "${model#*:}" 10
        done
    fi
}

case ${1:-} in
pack) pack ;;
run) run ;;
*) pack && run ;;
esac
