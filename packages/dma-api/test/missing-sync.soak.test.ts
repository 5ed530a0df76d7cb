// All of it: `npm run soak` sets the budget.
import './missing-sync.test.ts';
