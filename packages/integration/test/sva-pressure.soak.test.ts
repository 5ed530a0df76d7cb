// Every page of the 1 GiB: `npm run soak` sets the budget.
import './sva-pressure.test.ts';
