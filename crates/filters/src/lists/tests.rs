use proptest::prelude::*;

use super::*;

/// A file is taken if each of its lines is, and its mistakes are those of its lines.
fn check<T: ReadLines>(text: &str) -> Result<(), TestCaseError> {
    let alone = (1..).zip(text.split('\n')).filter_map(|(number, line)| {
        Lines::<T>::parse(&"line", line.as_bytes()).err().map(|_| format!("file:{number}: "))
    });
    let alone: Vec<String> = alone.take(10).collect();
    let told = Lines::<T>::parse(&"file", text.as_bytes()).err();
    let told: Vec<&str> = told.iter().flat_map(FileErrors::iter).take(10).collect();
    prop_assert_eq!(alone.len(), told.len(), "{:?}: {:?}", text, told);
    for (place, error) in alone.iter().zip(told) {
        prop_assert!(error.starts_with(place.as_str()), "{} is not about {}", error, place);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_file_is_taken_if_and_only_if_each_of_its_lines_is(
        lines in prop::collection::vec("([a-c0-9.*?/@<>():\\[\\]#\" -]{0,12}|[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2})?|\\.?[a-c]{1,3}(\\.[a-c]{1,3}){0,2})", 0..6),
    ) {
        let text = lines.join("\n");
        check::<Networks>(&text)?;
        check::<Domains>(&text)?;
        check::<Addresses>(&text)?;
        check::<Words>(&text)?;
    }
}
