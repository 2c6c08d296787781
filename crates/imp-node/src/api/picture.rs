//! Texts as QR codes, for telephones to read.

use png::{BitDepth, ColorType, Compression, Encoder};
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};
use thiserror::Error;

/// Light modules around a code, on each side (ISO/IEC 18004).
const QUIET_ZONE: usize = 4;

/// The least width of a picture, in pixels: a code is drawn in whole pixels for each module, so that most are wider.
const MIN_PIXELS: usize = 480;

/// The least pixels of a module.
const MIN_SCALE: usize = 4;

/// How a code is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As an image of black and white pixels.
    Png,
    /// As a drawing that has any size.
    Svg,
}

/// A text cannot be drawn.
#[derive(Debug, Error)]
pub(super) enum PictureError {
    /// It has more bytes than the largest code takes.
    #[error("a QR code holds 2,953 bytes, and this has {bytes}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The encoder refused it.
    #[error("the QR code cannot be made: {0}")]
    Code(QrError),
    /// The image cannot be written.
    #[error("the image cannot be written: {0}")]
    Image(#[from] png::EncodingError),
}

/// A text as a picture: the file's bytes.
pub(super) fn draw(text: &[u8], format: Format) -> Result<Vec<u8>, PictureError> {
    let code = code(text)?;
    match format {
        Format::Png => png(&code),
        Format::Svg => {
            let side = u32::try_from(code.width() + 2 * QUIET_ZONE).unwrap_or(u32::MAX);
            let scale = u32::try_from(scale(&code)).unwrap_or(u32::MAX);
            let drawing = code
                .render::<svg::Color<'_>>()
                .min_dimensions(side * scale, side * scale)
                .dark_color(svg::Color("#000"))
                .light_color(svg::Color("#fff"))
                .build();
            Ok(drawing.into_bytes())
        }
    }
}

/// The code of a text. One that would be too dense to repair much of it repairs less.
fn code(text: &[u8]) -> Result<QrCode, PictureError> {
    let repaired = QrCode::with_error_correction_level(text, EcLevel::M);
    let code = repaired.or_else(|_| QrCode::with_error_correction_level(text, EcLevel::L));
    code.map_err(|error| match error {
        QrError::DataTooLong => PictureError::TooLong { bytes: text.len() },
        error => PictureError::Code(error),
    })
}

fn scale(code: &QrCode) -> usize {
    MIN_PIXELS.div_ceil(code.width() + 2 * QUIET_ZONE).max(MIN_SCALE)
}

fn png(code: &QrCode) -> Result<Vec<u8>, PictureError> {
    let (modules, scale) = (code.width() + 2 * QUIET_ZONE, scale(code));
    let pixels = modules * scale;
    let dark = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let of_code = |place: usize| place.checked_sub(QUIET_ZONE).filter(|place| *place < code.width());
        let place = of_code(x).zip(of_code(y));
        place.is_some_and(|(x, y)| dark[y * code.width() + x] == qrcode::Color::Dark)
    };
    let mut rows = Vec::with_capacity(pixels * pixels.div_ceil(8));
    for y in 0..modules {
        let mut row = vec![0_u8; pixels.div_ceil(8)];
        for pixel in (0..pixels).filter(|pixel| !is_dark(pixel / scale, y)) {
            row[pixel / 8] |= 0x80 >> (pixel % 8);
        }
        (0..scale).for_each(|_| rows.extend_from_slice(&row));
    }
    let side = u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut image = Vec::new();
    let mut encoder = Encoder::new(&mut image, side, side);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rows)?;
    writer.finish()?;
    Ok(image)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The pixels of an image, row by row: whether each is dark.
    fn pixels(image: &[u8]) -> (usize, Vec<bool>) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(image));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((frame.width, frame.color_type), (frame.height, ColorType::Grayscale));
        (frame.width as usize, bytes[..frame.buffer_size()].iter().map(|grey| *grey < 128).collect())
    }

    /// What a telephone reads off an image.
    pub(in crate::api) fn read(image: &[u8]) -> String {
        let (side, dark) = pixels(image);
        let mut seen =
            rqrr::PreparedImage::prepare_from_greyscale(
                side,
                side,
                |x, y| if dark[y * side + x] { 0 } else { 255 },
            );
        let codes = seen.detect_grids();
        assert_eq!(codes.len(), 1);
        codes[0].decode().unwrap().1
    }

    /// The dark pixels of a drawing that is made of rectangles: `M`left` `top`h`width`v`height`H`left`V`top.
    fn rectangles(drawing: &str, side: usize) -> Vec<bool> {
        let path = drawing.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut dark = vec![false; side * side];
        for piece in path.split('M').skip(1) {
            let numbers: Vec<usize> = piece
                .split(|letter: char| !letter.is_ascii_digit())
                .map(|digits| digits.parse().unwrap())
                .collect();
            let [left, top, width, height, ..] = numbers[..] else { panic!("{piece}") };
            for y in top..top + height {
                dark[y * side + left..y * side + left + width].fill(true);
            }
        }
        dark
    }

    fn config(networks: usize) -> String {
        let allowed: Vec<String> = (0..networks).map(|number| format!("203.0.{number}.0/24")).collect();
        format!(
            "[Interface]\nPrivateKey = {key}\nAddress = 10.0.0.10/24\nDNS = 1.1.1.1\nMTU = 1420\n\n[Peer]\n\
             PublicKey = {key}\nPresharedKey = {key}\nAllowedIPs = {allowed}\nEndpoint = 198.51.100.7:51820\n",
            key = "aP1z+/Q9kR3mT5vX7yB0dF2hJ4lN6pS8uW1xZ3bC5e4=",
            allowed = allowed.join(", ")
        )
    }

    #[test]
    fn a_picture_gives_back_its_text() {
        for text in [config(1), config(64), "x".to_owned(), "y".repeat(2953)] {
            assert_eq!(read(&draw(text.as_bytes(), Format::Png).unwrap()), text);
        }
    }

    #[test]
    fn the_drawing_is_the_image() {
        for text in [config(1), config(64)] {
            let (side, dark) = pixels(&draw(text.as_bytes(), Format::Png).unwrap());
            let drawing = String::from_utf8(draw(text.as_bytes(), Format::Svg).unwrap()).unwrap();
            assert!(drawing.contains(&format!("viewBox=\"0 0 {side} {side}\"")), "{}", &drawing[..300]);
            assert_eq!(rectangles(&drawing, side), dark);
        }
    }

    #[test]
    fn a_code_has_light_around_it_and_modules_that_are_large_enough() {
        for text in ["x".to_owned(), config(1), "y".repeat(2953)] {
            let code = code(text.as_bytes()).unwrap();
            let (side, dark) = pixels(&draw(text.as_bytes(), Format::Png).unwrap());
            let scale = side / (code.width() + 8);
            assert_eq!(side, scale * (code.width() + 8));
            assert!(scale >= 4 && side >= 480, "{scale} {side}");
            let first = dark.iter().position(|dark| *dark).unwrap();
            assert_eq!((first % side, first / side), (4 * scale, 4 * scale));
        }
    }

    #[test]
    fn a_text_that_no_code_holds_is_refused() {
        let error = draw("y".repeat(2954).as_bytes(), Format::Png).unwrap_err();
        assert!(matches!(error, PictureError::TooLong { bytes: 2954 }), "{error}");
    }
}
