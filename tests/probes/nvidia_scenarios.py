"""Machines as the fake driver describes them. Figures are real readings where a link stands beside them."""

HEADER = "driver 580.95.05\ncuda 13000\nlibrary 580.95.05\n"
UUID_4090 = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"  # the CUDA programming guide's example of a UUID
UUID_3090 = "GPU-11112222-3333-4444-5555-666677778888"
UUID_A100 = "GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f"

# NVML total 24564 MiB of which CUDA sees 24080: https://github.com/ggml-org/llama.cpp/pull/23604 and others
RTX_4090 = f"gpu NVIDIA GeForce RTX 4090\nuuid {UUID_4090}\ntotal 24564\nreserved 484\nused 0\ncc 8 9\necc 0\n"
# NVML total 24576 MiB of which CUDA sees 24124
RTX_3090 = f"gpu NVIDIA GeForce RTX 3090\nuuid {UUID_3090}\ntotal 24576\nreserved 452\nused 1508\ncc 8 6\n"
DESKTOP = "process 1000001 g 312\nprocess 1000002 c 1100\nprocess 1000003 b 58\nprocess 1000004 g -1\n"
TWO_CARDS = HEADER + RTX_4090 + RTX_3090 + DESKTOP
# ECC takes 1/16 of GDDR6: 24564 becomes 23028 MiB
ECC_ON = HEADER + RTX_4090.replace("total 24564", "total 23028").replace("ecc 0", "ecc 1")
# 1g.5gb holds 4864 MiB: https://github.com/NVIDIA/go-nvml (pkg/nvml/mock)
MIG = (
    HEADER
    + f"gpu NVIDIA A100-SXM4-40GB\nuuid {UUID_A100}\ntotal 40960\nreserved 900\nused 40\ncc 8 0\necc 1\nmig 1\n"
    + "slice NVIDIA A100-SXM4-40GB MIG 1g.5gb\nuuid MIG-aaaa0000-0000-0000-0000-000000000001\ntotal 4864\nreserved 0\nused 13\ncc 8 0\nmig 0\ninstances 7 0\n"
    + "slice NVIDIA A100-SXM4-40GB MIG 3g.20gb\nuuid MIG-bbbb0000-0000-0000-0000-000000000002\ntotal 19968\nreserved 0\nused 25\ncc 8 0\nmig 0\ninstances 1 10\n"
)
# 32.5 GiB of a slice called 35gb, the card itself forbidden: https://github.com/vllm-project/vllm/issues/50463
MIG_CONTAINER = (
    HEADER
    + "gpu NVIDIA H200\nuuid GPU-7\ntotal 143771\nreserved 700\ncc 9 0\nmig 1\nfail nvmlDeviceGetMemoryInfo 4\nfail nvmlDeviceGetMemoryInfo_v2 4\n"
    + "slice NVIDIA H200 MIG 1g.35gb\nuuid MIG-cccc0000-0000-0000-0000-000000000003\ntotal 33280\nused 20\ncc 9 0\ninstances 9 0\n"
)
# https://github.com/XuehaiPan/nvitop/pull/208: the memory call is not supported, in either form
GB10 = HEADER + "gpu NVIDIA GB10\nuuid GPU-0b10\ncc 12 1\nats\nfail nvmlDeviceGetMemoryInfo 3\nfail nvmlDeviceGetMemoryInfo_v2 3\n"
ORIN = "driver 540.4.0\ncuda 12060\ngpu Orin (nvgpu)\ncc 8 7\nfail nvmlDeviceGetMemoryInfo 3\nfail nvmlDeviceGetMemoryInfo_v2 3\nfail nvmlDeviceGetVirtualizationMode 3\n"
# The same machine under a driver that answers with the host's memory
GB10_ANSWERING = HEADER + "gpu NVIDIA GB10\nuuid GPU-0b10\ntotal 122502\nreserved 0\nused 4000\ncc 12 1\nats\n"
# HBM alone, not the 480 GB of the name, which is the processor's memory
GH200 = HEADER + "gpu NVIDIA GH200 480GB\nuuid GPU-6200\ntotal 97871\nreserved 650\nused 0\ncc 9 0\nats\n"
ZERO = HEADER + "gpu NVIDIA Something\nuuid GPU-0\ntotal 0\ncc 9 0\n"
VGPU = HEADER + "gpu NVIDIA A40-24Q\nuuid GPU-a40\ntotal 24576\nreserved 1500\nused 0\ncc 8 6\nvgpu\n"
THREE = HEADER + RTX_4090 + RTX_3090 + RTX_4090.replace(UUID_4090, "GPU-99990000-0000-0000-0000-000000000000")
