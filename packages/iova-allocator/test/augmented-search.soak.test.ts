// All of it: `npm run soak` sets the budget.
import './augmented-search.test.ts';
