import { describe, expect, it } from 'vitest';
import { DMA_MAPPING_ERROR } from '../src/index.ts';
import { HEAD, one } from './ftrace-line.ts';

const head = { line: 1, tsUs: 25169687, cpu: 1, pid: 0, context: -3 };

describe('payloads', () => {
  // Lines of the captures; expected values read off the text.
  const real = [
    {
      text: 'map: IOMMU: iova=0x00000000ffffb000 - 0x00000000ffffc000 paddr=0x0000000048800000 size=4096',
      event: { event: 'map', iova: 0xffffb000, paddr: 0x48800000, size: 4096 },
    },
    {
      text: 'unmap: IOMMU: iova=0x00000000ffffc000 - 0x00000000ffffd000 size=4096 unmapped_size=4096',
      event: { event: 'unmap', iova: 0xffffc000, size: 4096, unmappedSize: 4096 },
    },
    {
      text: 'add_device_to_group: IOMMU: groupID=0 device=0000:00:04.0',
      event: { event: 'add_device_to_group', groupId: 0, device: '0000:00:04.0' },
    },
    {
      text: 'attach_device_to_domain: IOMMU: device=0000:00:04.0',
      event: { event: 'attach_device_to_domain', device: '0000:00:04.0' },
    },
    {
      text: 'dma_map_phys: 0000:00:03.0 dir=FROM_DEVICE dma_addr=ffffb040 size=1522 phys_addr=48800040 attrs=',
      event: {
        event: 'dma_map_phys',
        device: '0000:00:03.0',
        dir: 'FROM_DEVICE',
        dmaAddr: 0xffffb040,
        size: 1522,
        physAddr: 0x48800040,
        attrs: '',
      },
    },
    {
      text: 'dma_unmap_page: 0000:00:02.0 dir=TO_DEVICE dma_addr=ffff6380 size=48 attrs=',
      event: {
        event: 'dma_unmap_page',
        device: '0000:00:02.0',
        dir: 'TO_DEVICE',
        dmaAddr: 0xffff6380,
        size: 48,
        attrs: '',
      },
    },
    {
      text: 'dma_map_sg: 0000:00:01.0 dir=FROM_DEVICE nents=4/4 ents=1/1 dma_addrs={0xfffa8000} sizes={0x4000} phys_addrs={0x400ee000,0x421dc000,0x400bf000,0x400a6000} attrs=NO_WARN',
      event: {
        event: 'dma_map_sg',
        device: '0000:00:01.0',
        dir: 'FROM_DEVICE',
        nents: 4,
        ents: 1,
        truncated: false,
        dmaAddrs: [0xfffa8000],
        sizes: [0x4000],
        physAddrs: [0x400ee000, 0x421dc000, 0x400bf000, 0x400a6000],
        attrs: 'NO_WARN',
      },
    },
    {
      text: 'dma_unmap_sg: 0000:00:01.0 dir=FROM_DEVICE phys_addrs={0x400ee000,0x421dc000} attrs=',
      event: {
        event: 'dma_unmap_sg',
        device: '0000:00:01.0',
        dir: 'FROM_DEVICE',
        physAddrs: [0x400ee000, 0x421dc000],
        attrs: '',
      },
    },
    {
      text: 'dma_alloc: 9050000.smmuv3 dir=BIDIRECTIONAL dma_addr=6bf00000 size=1048576 virt_addr=000000002345d166 flags=GFP_KERNEL attrs=',
      event: {
        event: 'dma_alloc',
        device: '9050000.smmuv3',
        dir: 'BIDIRECTIONAL',
        dmaAddr: 0x6bf00000,
        size: 1048576,
        physAddrs: [],
        attrs: '',
      },
    },
    {
      text: 'alloc_fast: (alloc_iova_fast+0x0/0x378) iovad=0xfff0000007c1f408 size=1 limit_pfn=0xfffff flush=1',
      event: {
        event: 'alloc_fast',
        iovad: '0xfff0000007c1f408',
        size: 1,
        limitPfn: 0xfffff,
        flush: true,
      },
    },
    {
      text: 'alloc_fast_ret: (iommu_dma_alloc_iova+0x90/0x150 <- alloc_iova_fast) pfn=0xfffff',
      event: { event: 'alloc_fast_ret', pfn: 0xfffff },
    },
    {
      text: 'alloc: (alloc_iova+0x0/0x2e0) iovad=0xfff0000007c1f408 size=1 limit_pfn=0xfffff aligned=1',
      event: {
        event: 'alloc',
        iovad: '0xfff0000007c1f408',
        size: 1,
        limitPfn: 0xfffff,
        aligned: true,
      },
    },
    {
      text: 'alloc_ret: (alloc_iova_fast+0x14c/0x378 <- alloc_iova) iova=0xfff0000008022900 pfn_hi=0xfffff pfn_lo=0xffffe',
      event: { event: 'alloc_ret', node: '0xfff0000008022900', pfnHi: 0xfffff, pfnLo: 0xffffe },
    },
    {
      text: 'free_fast: (free_iova_fast+0x0/0x200) iovad=0xfff0000007331408 pfn=0xfff83 size=1',
      event: { event: 'free_fast', iovad: '0xfff0000007331408', pfn: 0xfff83, size: 1 },
    },
    {
      text: 'free: (free_iova+0x0/0xc8) iovad=0xfff0000007021d00 pfn=0xfff00',
      event: { event: 'free', iovad: '0xfff0000007021d00', pfn: 0xfff00 },
    },
    {
      text: 'reserve: (reserve_iova+0x0/0x188) iovad=0xfff0000007c1f408 pfn_lo=0x10000 pfn_hi=0x3efef',
      event: { event: 'reserve', iovad: '0xfff0000007c1f408', pfnHi: 0x3efef, pfnLo: 0x10000 },
    },
    {
      text: 'init: (init_iova_domain+0x0/0x90) iovad=0xfff0000007c1f408 granule=4096 start_pfn=0x1',
      event: { event: 'init', iovad: '0xfff0000007c1f408', granule: 4096, startPfn: 1 },
    },
    {
      text: 'fq_flush: (fq_flush_iotlb+0x0/0xa8) cookie=0xfff00000083bb600',
      event: { event: 'fq_flush', cookie: '0xfff00000083bb600' },
    },
    {
      text: 'fq_timeout: (fq_flush_timeout+0x0/0xd8) timer=0xfff00000083bb6a0',
      event: { event: 'fq_timeout', timer: '0xfff00000083bb6a0' },
    },
    {
      text: 'cmdlist: (arm_smmu_cmdq_issue_cmdlist+0x0/0xb10) n=1 sync=1 c0d0=0xa000000000012 c0d1=0xfffba701',
      event: {
        event: 'cmdlist',
        n: 1,
        sync: true,
        c0: { lo: 0x12, hi: 0xa0000 },
        c1: { lo: 0xfffba701, hi: 0 },
      },
    },
    {
      text: 'tlb_inv_context: (arm_smmu_tlb_inv_context+0x0/0xe0) domain=0xfff0000007c1e400',
      event: { event: 'tlb_inv_context', domain: '0xfff0000007c1e400' },
    },
    {
      text: 'evtq_thread: (arm_smmu_evtq_thread+0x0/0x200)',
      event: { event: 'evtq_thread' },
    },
    {
      text: 'tracing_mark_write: PHASE:load-modules',
      event: { event: 'tracing_mark_write', text: 'PHASE:load-modules' },
    },
  ];
  // Events the captures do not hold, in the form of their kernels' `print fmt`, and forms of other kernels.
  const formats = [
    {
      text: 'detach_device_from_domain: IOMMU: device=0000:00:04.0',
      event: { event: 'detach_device_from_domain', device: '0000:00:04.0' },
    },
    {
      text: 'remove_device_from_group: IOMMU: groupID=12 device=0000:00:04.0',
      event: { event: 'remove_device_from_group', groupId: 12, device: '0000:00:04.0' },
    },
    {
      text: 'io_page_fault: IOMMU:amdgpu 0000:01:00.0 iova=0xffffffffffff0123 flags=0x0020',
      event: {
        event: 'io_page_fault',
        driver: 'amdgpu',
        device: '0000:01:00.0',
        iova: { lo: 0xffff0123, hi: 0xffffffff },
        flags: 0x20,
      },
    },
    {
      text: 'dma_map_resource: d dir=BIDIRECTIONAL dma_addr=1000 size=8 phys_addr=9050000 attrs=SKIP_CPU_SYNC|NO_WARN',
      event: {
        event: 'dma_map_resource',
        device: 'd',
        dir: 'BIDIRECTIONAL',
        dmaAddr: 0x1000,
        size: 8,
        physAddr: 0x9050000,
        attrs: 'SKIP_CPU_SYNC|NO_WARN',
      },
    },
    {
      text: 'dma_map_phys: d dir=NONE dma_addr=ffffffffffffffff size=8 phys_addr=9050000 attrs=',
      event: {
        event: 'dma_map_phys',
        device: 'd',
        dir: 'NONE',
        dmaAddr: DMA_MAPPING_ERROR,
        size: 8,
        physAddr: 0x9050000,
        attrs: '',
      },
    },
    {
      text: 'dma_map_sg: d dir=TO_DEVICE dma_addrs={0x1000,0x5000} sizes={0x10,0x20} phys_addrs={0x7000,0x9000} attrs=',
      event: {
        event: 'dma_map_sg',
        device: 'd',
        dir: 'TO_DEVICE',
        nents: 2,
        ents: 2,
        truncated: false,
        dmaAddrs: [0x1000, 0x5000],
        sizes: [0x10, 0x20],
        physAddrs: [0x7000, 0x9000],
        attrs: '',
      },
    },
    {
      text: 'dma_map_sg: d dir=TO_DEVICE nents=128/200 ents=1/1 [TRUNCATED] dma_addrs={0x1000} sizes={0xc8000} phys_addrs={0x7000} attrs=',
      event: {
        event: 'dma_map_sg',
        device: 'd',
        dir: 'TO_DEVICE',
        nents: 200,
        ents: 1,
        truncated: true,
        dmaAddrs: [0x1000],
        sizes: [0xc8000],
        physAddrs: [0x7000],
        attrs: '',
      },
    },
    {
      text: 'dma_map_sg_err: d dir=TO_DEVICE dma_addrs={0x7000} err=-12 attrs=',
      event: {
        event: 'dma_map_sg_err',
        device: 'd',
        dir: 'TO_DEVICE',
        physAddrs: [0x7000],
        err: -12,
        attrs: '',
      },
    },
    {
      text: 'dma_alloc: d dma_addr=1000 size=64 virt_addr=00000000ab flags=GFP_KERNEL|__GFP_ZERO attrs=NO_WARN',
      event: {
        event: 'dma_alloc',
        device: 'd',
        dir: 'NONE',
        dmaAddr: 0x1000,
        size: 64,
        physAddrs: [],
        attrs: 'NO_WARN',
      },
    },
    {
      text: 'dma_alloc_sgt: d dir=FROM_DEVICE dma_addr=1000 size=64 phys_addrs={} flags=GFP_KERNEL attrs=',
      event: {
        event: 'dma_alloc_sgt',
        device: 'd',
        dir: 'FROM_DEVICE',
        dmaAddr: 0x1000,
        size: 64,
        physAddrs: [],
        attrs: '',
      },
    },
    {
      text: 'dma_free: d dir=NONE dma_addr=1000 size=64 virt_addr=00000000ab attrs=',
      event: {
        event: 'dma_free',
        device: 'd',
        dir: 'NONE',
        dmaAddr: 0x1000,
        size: 64,
        physAddrs: [],
        attrs: '',
      },
    },
    {
      text: 'dma_free_sgt: d dir=NONE dma_addr=1000 size=64 phys_addrs={0x7000}',
      event: {
        event: 'dma_free_sgt',
        device: 'd',
        dir: 'NONE',
        dmaAddr: 0x1000,
        size: 64,
        physAddrs: [0x7000],
        attrs: '',
      },
    },
    {
      text: 'dma_sync_single_for_cpu: d dir=FROM_DEVICE dma_addr=1040 size=64',
      event: {
        event: 'dma_sync_single_for_cpu',
        device: 'd',
        dir: 'FROM_DEVICE',
        dmaAddrs: [0x1040],
        sizes: [64],
      },
    },
    {
      text: 'dma_sync_sg_for_device: d dir=TO_DEVICE dma_addrs={0x1000,0x3000} sizes={0x40,0x80}',
      event: {
        event: 'dma_sync_sg_for_device',
        device: 'd',
        dir: 'TO_DEVICE',
        dmaAddrs: [0x1000, 0x3000],
        sizes: [0x40, 0x80],
      },
    },
    {
      text: 'free_slow: (__free_iova+0x0/0x60) iovad=0xfff0000007021d00 pfn_hi=0xfff01 pfn_lo=0xfff00',
      event: {
        event: 'free_slow',
        iovad: '0xfff0000007021d00',
        pfnHi: 0xfff01,
        pfnLo: 0xfff00,
      },
    },
    {
      text: 'alloc_ret: (f+0x1/0x2 <- alloc_iova) iova=0x0 pfn_hi=(fault) pfn_lo=(fault)',
      event: { event: 'alloc_ret', node: '0x0', pfnHi: -1, pfnLo: -1 },
    },
    {
      name: 'a limit of all ones saturates',
      text: 'alloc_fast: (f+0x0/0x8) iovad=0x10 size=1 limit_pfn=0xffffffffffffffff flush=0',
      event: {
        event: 'alloc_fast',
        iovad: '0x10',
        size: 1,
        limitPfn: 2 ** 52 - 1,
        flush: false,
      },
    },
    {
      name: 'map before 5.17',
      text: 'map: IOMMU: iova=0x00000000ffffb000 paddr=0x0000000048800000 size=4096',
      event: { event: 'map', iova: 0xffffb000, paddr: 0x48800000, size: 4096 },
    },
    {
      name: 'an upper-half address is exact',
      text: 'map: IOMMU: iova=0xfffffffffffef000 - 0xffffffffffff0000 paddr=0x000ffffffffff000 size=4096',
      event: {
        event: 'map',
        iova: Number(0xfffffffffffef000n),
        paddr: 0xffffffffff000,
        size: 4096,
      },
    },
  ];
  it.each([...real, ...formats])('$text', ({ text, event }) => {
    expect(one(HEAD + text)).toEqual({ ...head, ...event });
  });
});
