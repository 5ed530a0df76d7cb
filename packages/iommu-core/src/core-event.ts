/**
 * Core's tracepoints, with the kernel's names (`include/trace/events/iommu.h`); addresses and sizes in bytes. `warn` stands for
 * the kernel's messages, `batch_*` belong to batches, which the kernel does not have.
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
  | {
      readonly name: 'io_page_fault';
      readonly device: string;
      readonly iova: number;
      /** A write; otherwise a read. */
      readonly write: boolean;
    }
  | {
      readonly name: 'batch_flush';
      /** `early`: a map met what was not invalidated yet. */
      readonly cause: 'flush' | 'early';
      readonly records: number;
      readonly tables: number;
    }
  | {
      readonly name: 'batch_failure';
      /** Index of the operation in its batch, from 0. */
      readonly operation: number;
      readonly errno: number;
      readonly iova: number;
    }
  | { readonly name: 'warn'; readonly text: string };
