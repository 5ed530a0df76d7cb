export { ContractError, type ContractOperands } from './contract-error.ts';
export {
  type ContractParts,
  type ContractSubject,
  type ContractTraits,
  GENERIC_PT_TRAITS,
  IO_PGTABLE_TRAITS,
  type IovaSpace,
} from './contract-subject.ts';
export { type ContractCase, pageTableContract } from './page-table-contract.ts';
