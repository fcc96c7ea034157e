package server

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	"rsc.io/qr"
)

// The look of upstream's codes: modules of 4 pixels inside a margin of 3 modules.
const (
	qrScale  = 4
	qrMargin = 3
)

// newQRCode makes a code of the form WhatsApp offers, a reference and three keys, and its picture. No phone can use it.
func newQRCode(dark string) (qrCode, error) {
	parts := []string{"2@" + randomBase64(96)}
	for range 3 {
		parts = append(parts, randomBase64(32))
	}
	code := strings.Join(parts, ",")
	picture, err := drawQRCode(code, dark)
	if err != nil {
		return qrCode{}, err
	}
	return qrCode{Code: code, Base64: "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture), Count: 1}, nil
}

func drawQRCode(code, dark string) ([]byte, error) {
	modules, err := qr.Encode(code, qr.H)
	if err != nil {
		return nil, fmt.Errorf("encode QR code: %w", err)
	}
	side := (modules.Size + 2*qrMargin) * qrScale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, parseColor(dark)})
	for y := range side {
		for x := range side {
			if modules.Black(x/qrScale-qrMargin, y/qrScale-qrMargin) {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	return b.Bytes(), nil
}

// parseColor reads "#rrggbb"; anything else is black.
func parseColor(s string) color.Color {
	rgb, err := hex.DecodeString(strings.TrimPrefix(s, "#"))
	if err != nil || len(rgb) != 3 {
		return color.Black
	}
	return color.RGBA{R: rgb[0], G: rgb[1], B: rgb[2], A: 0xff}
}

func randomBase64(n int) string {
	return base64.StdEncoding.EncodeToString(randomBytes(n))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails since Go 1.24
	return b
}

// newPairingCode makes the eight characters a person types instead of scanning.
func newPairingCode() string {
	const letters = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
	b := randomBytes(8)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}
