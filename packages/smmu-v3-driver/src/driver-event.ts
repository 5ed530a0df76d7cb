/**
 * The driver's trace events. `cmdlist` is the entry of `arm_smmu_cmdq_issue_cmdlist`: `n` commands without the SYNC that `sync`
 * adds, and the four u32 lanes of the first command. `evtq_thread` is one run of the event-queue thread.
 * @example driver.trace.listen((event) => { if (event.name === 'cmdlist') lists.push(event.n); });
 */
export type DriverEvent =
  | {
      readonly name: 'cmdlist';
      readonly n: number;
      readonly sync: 0 | 1;
      readonly first: readonly [number, number, number, number];
    }
  | { readonly name: 'tlb_inv_context'; readonly asid: number }
  | { readonly name: 'evtq_thread' };
