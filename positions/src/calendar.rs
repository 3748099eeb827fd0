//! The Gregorian calendar: day numbers to years, months and days, and back; for every 64-bit microsecond.
//!
//! Guarantee: pure and total; [`day_of`] gives back the day number that [`date_of`] took apart.
//!
//! # Source
//! Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days` and `days_from_civil`.

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// May be negative.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
}

impl Date {
    /// Months since the beginning of year 0.
    pub fn months(self) -> i64 {
        self.year * 12 + self.month - 1
    }

    /// How many days a month has, which is counted as [`Self::months`] counts.
    pub fn last_day(months: i64) -> i64 {
        day_of(months + 1, 1) - day_of(months, 1)
    }
}

/// The calendar day of a day number, which counts from 1970-01-01.
pub fn date_of(days: i64) -> Date {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years that begin in March put the leap day at their end.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Date { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// The day number of a day of a month, which is counted as [`Date::months`] counts.
#[inline]
pub fn day_of(months: i64, day: i64) -> i64 {
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
