/**
 * Core's tracepoints, with the kernel's names (`include/trace/events/iommu.h`); addresses and sizes in bytes.
 * @example core.trace.listen((event) => { if (event.name === 'map') log.push(event.iova); });
 */
export type CoreEvent =
  | { readonly name: 'add_device_to_group'; readonly groupId: number; readonly device: string }
  | { readonly name: 'remove_device_from_group'; readonly groupId: number; readonly device: string }
  | { readonly name: 'attach_device_to_domain'; readonly device: string }
  | { readonly name: 'map'; readonly iova: number; readonly paddr: number; readonly size: number }
  | {
      readonly name: 'unmap';
      readonly iova: number;
      readonly size: number;
      readonly unmappedSize: number;
    }
  | { readonly name: 'warn'; readonly text: string };
