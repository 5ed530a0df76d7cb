// All of it: `npm run soak` sets the budget.
import './tlb-front.test.ts';
